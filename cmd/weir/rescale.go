package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/client"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/config"
)

func (c *cli) rescaleCommand() *cobra.Command {
	var f operationFlags
	var parallelism string
	cmd := &cobra.Command{
		Use: "rescale JOB [-p N] [uid=N…]", Short: "Give a running job another parallelism",
		Long: `Give a running job another parallelism: -p that of all operators which set none themselves, uid=N
that of one operator. A checkpoint is taken, and the job goes on from it, without a new submission.`,
		Example: "  weir rescale orders -p 8\n  weir rescale orders parse=2 count=16",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: c.completeJobs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return words("JOB")(cmd, args)
			}
			r, err := rescaleRequest(parallelism, args[1:])
			if err != nil {
				return err
			}
			return c.rescale(cmd.Context(), f, args[0], r)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&parallelism, "parallelism", "p", "", "subtasks of each operator that sets none itself, `N`")
	return cmd
}

// rescaleRequest reads what was typed.
func rescaleRequest(parallelism string, pairs []string) (r api.RescaleRequest, err error) {
	if parallelism != "" {
		if r.Parallelism, err = parseParallelism("-p", parallelism); err != nil {
			return r, err
		}
	}
	for _, p := range pairs {
		at := strings.LastIndexByte(p, '=')
		if at <= 0 {
			return r, usage(fmt.Sprintf("%q is not of the form uid=N", p), "weir rescale JOB -p N, or weir rescale JOB uid=N")
		}
		n, err := parseParallelism(p[:at]+"=", p[at+1:])
		if err != nil {
			return r, err
		}
		if old, twice := r.Operators[p[:at]]; twice && old != n {
			return r, usage(fmt.Sprintf("operator %q is given twice, as %d and %d", p[:at], old, n))
		}
		if r.Operators == nil {
			r.Operators = map[string]int{}
		}
		r.Operators[p[:at]] = n
	}
	if r.Parallelism == 0 && len(r.Operators) == 0 {
		return r, usage("weir rescale lacks the parallelism", "weir rescale JOB -p N, or weir rescale JOB uid=N")
	}
	return r, nil
}

// parseParallelism reads a number of subtasks within the bounds of parallelism.default.
func parseParallelism(flag, typed string) (int, error) {
	n, err := config.Parallelism.Parse(typed)
	if err != nil {
		if _, whole := strconv.Atoi(typed); whole != nil {
			return 0, usage(fmt.Sprintf("%s%s is not a whole number", space(flag), typed))
		}
		return 0, usage(fmt.Sprintf("%s%s is not possible", space(flag), typed), "1 to 32768")
	}
	return n, nil
}

// space puts a space behind a flag, none behind "uid=".
func space(flag string) string {
	if strings.HasSuffix(flag, "=") {
		return flag
	}
	return flag + " "
}

func (c *cli) rescale(ctx context.Context, f operationFlags, ref string, r api.RescaleRequest) error {
	args := ""
	if r.Parallelism > 0 {
		args += " -p " + strconv.Itoa(r.Parallelism)
	}
	for _, uid := range slices.Sorted(maps.Keys(r.Operators)) {
		args += fmt.Sprintf(" %s=%d", uid, r.Operators[uid])
	}
	return c.onJob(ctx, f, ref, verb{
		name: "rescale", command: "rescale", args: args, changes: true, known: client.RescaleOperation,
		start: func(ctx context.Context, cl *client.Client, job, trigger string) (client.Operation, error) {
			r.TriggerID = trigger
			return cl.Rescale(ctx, job, r)
		},
		told: func(j *api.Job, _ *outcome, _ string) string {
			return fmt.Sprintf("job %q is rescaled: %s, parallelism %d", j.Name, stateLine(j), j.Parallelism)
		},
	})
}
