package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/internal/buildflags"
)

const (
	envAddress = "WEIR_JOBMANAGER"
	envToken   = "WEIR_TOKEN"
	envConfig  = "WEIR_CONFIG"
)

// root returns the tree of commands.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Weir runs stateful stream processing jobs and loses nothing",
		Long: "Weir runs stateful stream processing jobs, written in Go, on many machines, and loses\nnothing when one of them dies.\n\n" +
			"Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 incompatible, 6 no JobManager leads,\n" +
			"7 the job ended FAILED or CANCELED, 8 --timeout passed, 130 detached.",
		Version:       buildflags.Version(),
		SilenceErrors: true, SilenceUsage: true,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains(outputs, c.output) {
				return usage(fmt.Sprintf("output form %q is not known", c.output), "one of "+strings.Join(outputs, ", "))
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("weir {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVarP(&c.address, "jobmanager", "m", "", "REST address of a JobManager, host:port (env "+envAddress+"; default "+client.DefaultAddress+")")
	f.StringVarP(&c.output, "output", "o", "table", "form of the output: "+strings.Join(outputs, "|"))
	f.BoolVarP(&c.verbose, "verbose", "v", false, "say more")
	root.AddCommand(c.runCommand(), c.listCommand(), c.describeCommand(), c.waitCommand(),
		c.savepointCommand(), c.checkpointCommand(), c.stopCommand(), c.cancelCommand(), c.rescaleCommand(), c.snapshotCommand(), c.checkCommand(),
		c.clusterCommand(), c.jobManagerCommand(), c.taskManagerCommand(), c.demoCommand(), c.configCommand(), c.versionCommand())
	root.SetOut(c.stdout) // the command completion takes it over now
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" { // cobra's takes any word for a call for help
			cmd.Args, cmd.RunE = unknownCommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Help about a command", Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		found, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 && found == root {
			return unknownCommand(root, args)
		}
		return found.Help()
	}})
	return root
}

// connect returns a client of the cluster that was named.
func (c *cli) connect() (*client.Client, error) {
	return client.New(client.Options{
		Address: cmp.Or(c.address, c.getenv(envAddress)), Token: c.getenv(envToken), Notice: c.say,
	})
}

// say writes a line of talk.
func (c *cli) say(line string) { fmt.Fprintln(c.stderr, line) }

// completionTime bounds what a shell waits for when names are completed.
const completionTime = time.Second

// completeJobs completes the names of jobs from the cluster.
func (c *cli) completeJobs(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	cl, err := client.New(client.Options{Address: cmp.Or(c.address, c.getenv(envAddress)), Token: c.getenv(envToken)})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	jobs, err := cl.Jobs(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, j := range jobs {
		for _, name := range []string{j.Name, j.ID} {
			if strings.HasPrefix(name, typed) && (name == j.Name || typed != "") {
				names = append(names, cobra.CompletionWithDesc(name, j.State))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
