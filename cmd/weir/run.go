package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/jobbinary"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// runFlags are what `weir run` was told.
type runFlags struct {
	detached    bool
	parallelism string
	settings    []string
	dryRun      bool
	restore     restoreFlags
}

func (c *cli) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] PKG|BINARY [-- args]",
		Short: "Run a job on the cluster",
		Long: `Run a job on the cluster: a Go package, built for the cluster's machines, or a binary that was
built before. The command follows the job and ends as it does: exit code 0 if it is FINISHED, 7 if
FAILED or CANCELED. Ctrl-C detaches; it never cancels the job.

What the program sets by flags of its own that are typed after -- counts most, then -D and -p.`,
		Example: "  weir run ./orders -- --input '/data/*.csv'\n  weir run -d -p 3 -D state.backend.type=heap ./orders\n" +
			"  weir run -s /backup/weir/savepoint-0123ab-4f2a --map-uid dedupe=dedup ./orders",
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			if dash < 0 && len(args) > 1 {
				return usage(fmt.Sprintf("weir run takes one package or binary, and not %q", args[1]),
					"arguments of the program come after --:  weir run "+args[0]+" -- "+strings.Join(args[1:], " "))
			}
			if len(args) == 0 || dash == 0 {
				return usage("weir run lacks PKG|BINARY", cmd.UseLine())
			}
			if dash > 1 {
				return usage(fmt.Sprintf("weir run takes one package or binary, and not %q", args[1]), cmd.UseLine())
			}
			return c.runJob(cmd.Context(), f, args[0], args[1:])
		},
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.detached, "detached", "d", false, "print the job's id and do not follow it")
	fl.StringVarP(&f.parallelism, "parallelism", "p", "", "subtasks of each operator that sets none itself (parallelism.default)")
	fl.StringArrayVarP(&f.settings, "define", "D", nil, "set a setting of the job, key=value; `setting` may be repeated")
	fl.BoolVar(&f.dryRun, "dry-run", false, "check the program, its settings and the snapshot, run nothing")
	f.restore.add(fl)
	for name, short := range map[string]string{"class": "c", "classpath": "C", "target": "t"} {
		fl.VarPF(notBuilt("a job is one binary, it has no class, class path or target"), name, short, "").Hidden = true
	}
	return cmd
}

// notBuilt is a flag of Flink's that can't be used, and says so.
type notBuilt string

// String implements pflag.Value.
func (notBuilt) String() string { return "" }

// Set implements pflag.Value.
func (n notBuilt) Set(string) error { return errors.New(string(n)) }

// Type implements pflag.Value.
func (notBuilt) Type() string { return "" }

// typedSettings checks -D and -p.
func (c *cli) typedSettings(f runFlags) (map[string]string, error) {
	layer, err := config.Flags(f.settings)
	if err != nil {
		return nil, badConfig(err)
	}
	if f.parallelism != "" {
		if other, twice := layer.Values[config.Parallelism.Key]; twice && other != f.parallelism {
			return nil, usage(fmt.Sprintf("-p %s and -D %s=%s contradict each other", f.parallelism, config.Parallelism.Key, other))
		}
		if _, err := strconv.Atoi(f.parallelism); err != nil {
			return nil, usage(fmt.Sprintf("-p %s is not a whole number", f.parallelism))
		}
		layer.Set(config.Parallelism.Key, f.parallelism, "-p")
	}
	typed, notices, err := config.CheckTyped(layer)
	if err != nil {
		return nil, badConfig(err)
	}
	for _, n := range notices {
		c.say("notice: " + n)
	}
	return typed, nil
}

func (c *cli) runJob(ctx context.Context, f runFlags, target string, args []string) error {
	typed, err := c.typedSettings(f)
	if err != nil {
		return err
	}
	restore, err := f.restore.request()
	if err != nil {
		return err
	}
	cl, err := c.connect()
	if err != nil {
		return err
	}
	if err := jobbinary.CheckTarget(target); err != nil { // before anybody is waited for
		return err
	}
	arch := runtime.GOARCH
	if !f.dryRun {
		o, err := cl.Overview(ctx)
		if err != nil {
			return err
		}
		if err := sameVersion(o); err != nil {
			return err
		}
		if o.GOARCH != "" {
			arch = o.GOARCH
		}
	}
	ctx, stop := attached(ctx) // who stops the command leaves no build, program or folder behind
	defer stop()
	p, err := jobbinary.Prepare(ctx, target, arch, c.say)
	if err != nil {
		return c.stopped(ctx, err)
	}
	defer p.Remove()
	plan, err := p.Plan(ctx, args, c.environ, c.stdout, c.say)
	if err != nil || plan == nil {
		return c.stopped(ctx, err)
	}
	if err := c.checkPlan(plan, typed); err != nil {
		return err
	}
	if err := checkMapped(plan, restore); err != nil {
		return err
	}
	if restore.Mode == api.RestoreLegacy {
		c.say("warning: with restore mode legacy " + restore.Path + " stays yours, and you must keep it as long as any checkpoint of this job refers to it; " +
			"with no_claim the job needs it only until its first checkpoint")
	}
	if f.dryRun {
		return c.dryRun(ctx, plan, restore, typed)
	}
	return c.submit(ctx, cl, f.detached, client.Submission{
		Binary: p.Binary, Settings: typed, Restore: restore, ClientVersion: buildflags.Version(), GOARCH: p.Arch,
	}, plan)
}

// stopped is the end of a command that was stopped before it had submitted the job, or
// what else went wrong until then.
func (c *cli) stopped(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	c.say("stopped; nothing was submitted")
	return &exitError{Exit: exitDetached}
}

// dryRun says what would be run, and whether it can be started from its snapshot.
func (c *cli) dryRun(ctx context.Context, plan *metapb.Plan, r api.Restore, typed map[string]string) error {
	if r.Path != "" {
		m, err := metadataOf(ctx, r)
		if err == nil {
			err = c.verdictOn(m, plan, r, typed)
		}
		if err != nil {
			return err
		}
	}
	c.say(fmt.Sprintf("job %q: %d operators; nothing was run", plan.Name, len(uids(plan))))
	return nil
}

// submit hands the job over, and follows it unless told not to.
func (c *cli) submit(ctx context.Context, cl *client.Client, detached bool, s client.Submission, plan *metapb.Plan) error {
	var err error
	if s.Plan, err = (proto.MarshalOptions{Deterministic: true}).Marshal(plan); err != nil {
		return fmt.Errorf("encode plan of %q: %w", plan.Name, err)
	}
	b := c.newBar("sending " + plan.Name)
	s.Progress = b.bytes
	submitted, err := cl.Submit(ctx, s)
	b.finish()
	if err != nil {
		return err
	}
	id := submitted.JobID
	c.say(fmt.Sprintf("job %q is submitted: %s", plan.Name, id))
	for _, w := range submitted.Warnings {
		c.say("warning: " + w)
	}
	if detached {
		c.say("watch it:  weir wait " + id + "    look at it:  weir describe " + id)
		if c.output == "json" || c.output == "jsonl" {
			return writeJSON(c.stdout, submitted, "")
		}
		fmt.Fprintln(c.stdout, id)
		return nil
	}
	return c.follow(ctx, cl, id)
}

// checkPlan says early what the cluster would refuse.
func (c *cli) checkPlan(plan *metapb.Plan, typed map[string]string) error {
	if err := job.ValidatePlan(plan); err != nil {
		return failure(exitFailed, "BAD_PLAN", fmt.Sprintf("the program's plan is not valid: %v", err))
	}
	cluster, err := config.Resolve()
	if err == nil {
		_, err = config.ResolveJob(plan, typed, cluster)
	}
	if err != nil {
		return badConfig(err)
	}
	for _, w := range weir.Warnings(plan) {
		c.say("warning: " + w)
	}
	return nil
}

// sameVersion refuses a cluster whose minor version is another one: a job binary
// embeds this version's runtime.
func sameVersion(o api.Overview) error {
	own, theirs := buildflags.Version(), o.WeirVersion
	if buildflags.SameMinor(own, theirs) {
		return nil
	}
	return failure(exitIncompatible, "VERSION_MISMATCH",
		fmt.Sprintf("this is weir %s, the cluster runs %s: jobs and cluster must be of the same minor version", own, theirs),
		"use weir "+theirs+", and build the job with that version of the module")
}
