package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/compat"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/jobbinary"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
)

func (c *cli) checkCommand() *cobra.Command {
	var f restoreFlags
	var parallelism string
	cmd := &cobra.Command{
		Use:   "check -s PATH [flags] PKG|BINARY [-- args]",
		Short: "Say whether a program can be started from a snapshot",
		Long: `Say whether a program can be started from a snapshot, and what becomes of its state: mapped (it goes
on as it is), migrated (its values are changed as they are read), new, dropped, unmapped (no operator
takes it) or incompatible. No cluster is needed, and no state is read. Exit code 5 if the program
can't be started from it.`,
		Example: "  weir check -s /backup/weir/savepoint-0123ab-4f2a ./orders",
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			switch {
			case len(args) == 0 || dash == 0:
				return usage("weir check lacks PKG|BINARY", cmd.UseLine())
			case dash < 0 && len(args) > 1 || dash > 1:
				return usage(fmt.Sprintf("weir check takes one package or binary, and not %q", args[1]),
					"arguments of the program come after --:  weir check -s PATH "+args[0]+" -- "+strings.Join(args[1:], " "))
			case f.path == "":
				return usage("weir check lacks -s PATH, the snapshot", cmd.UseLine())
			}
			return c.check(cmd.Context(), f, parallelism, args[0], args[1:])
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.path, "fromSavepoint", "s", "", "savepoint or retained checkpoint at `PATH`, its folder or its _metadata")
	fl.BoolVarP(&f.allowNonRestored, "allowNonRestoredState", "n", false, "state that no operator of the program takes may be dropped")
	fl.StringVarP(&parallelism, "parallelism", "p", "", "as the program will be run; left out: as the snapshot's job was")
	fl.StringArrayVar(&f.mapped, "map-uid", nil, "operator new takes the state of operator old, `old=new`; may be repeated")
	return cmd
}

// check compares the snapshot with the program and says what becomes of the state.
func (c *cli) check(ctx context.Context, f restoreFlags, parallelism, target string, args []string) error {
	request, err := f.request()
	if err != nil {
		return err
	}
	typed, err := c.typedSettings(runFlags{parallelism: parallelism})
	if err != nil {
		return err
	}
	m, err := metadataOf(ctx, request)
	if err != nil {
		return err
	}
	if err := jobbinary.CheckTarget(target); err != nil {
		return err
	}
	p, err := jobbinary.Prepare(ctx, target, runtime.GOARCH, c.say)
	if err != nil {
		return err
	}
	defer p.Remove()
	plan, err := p.Plan(ctx, args, c.environ, c.stdout, c.say)
	if err != nil || plan == nil {
		return err
	}
	if err := checkMapped(plan, request); err != nil {
		return err
	}
	return c.verdictOn(m, plan, request, typed)
}

// laidOut is the program as it would be run with the settings typed: at the parallelism of
// the snapshot's job where neither says another.
func laidOut(m *metapb.CheckpointMetadata, plan *metapb.Plan, typed map[string]string) (*job.Graph, error) {
	widest := uint32(1)
	for _, op := range m.Operators {
		widest = max(widest, op.Parallelism)
	}
	cluster, err := config.Resolve(config.Layer{Origin: "snapshot", Values: map[string]string{config.Parallelism.Key: fmt.Sprint(widest)}})
	if err != nil {
		return nil, badConfig(err)
	}
	e, err := config.ResolveJob(plan, typed, cluster)
	if err != nil {
		return nil, badConfig(err)
	}
	g, err := job.NewGraph(plan, e.Get(config.Parallelism))
	if err != nil {
		return nil, failure(exitFailed, "BAD_PLAN", fmt.Sprintf("the program's plan is not valid: %v", err))
	}
	return g, nil
}

// verdictOn says what becomes of the state of m in the program that plan is of.
func (c *cli) verdictOn(m *metapb.CheckpointMetadata, plan *metapb.Plan, request api.Restore, typed map[string]string) error {
	if err := restore.MapUIDs(m, mappings(request)); err != nil {
		return badRestore(err)
	}
	g, err := laidOut(m, plan, typed)
	if err != nil {
		return err
	}
	report := compat.Check(m, plan, compat.Options{AllowNonRestored: request.AllowNonRestored, Graph: g})
	for _, w := range append(report.Warnings, report.Lost()...) {
		c.say("warning: " + w)
	}
	var names []string
	for _, op := range report.Operators {
		names = append(names, op.UID)
	}
	if done, err := c.structured(report, names); err != nil {
		return err
	} else if !done {
		c.checkTable(report)
	}
	if err := report.Err(); err != nil {
		return failure(exitIncompatible, "SNAPSHOT_INCOMPATIBLE", err.Error(), report.Hints()...)
	}
	c.say(fmt.Sprintf("%s can be started from checkpoint %d of job %q: %s of state are taken over, %s dropped",
		plan.Name, report.Checkpoint, report.JobName, size(report.Bytes), size(report.Dropped)))
	return nil
}

// metadataOf reads the snapshot that was named.
func metadataOf(ctx context.Context, r api.Restore) (*metapb.CheckpointMetadata, error) {
	s, err := savepoint.Open(ctx, r.Path)
	if err != nil {
		return nil, badSnapshot(err)
	}
	return proto.CloneOf(s.Metadata()), s.Close()
}

func mappings(r api.Restore) (all []*metapb.UIDMapping) {
	for from, to := range r.MapUIDs {
		all = append(all, &metapb.UIDMapping{From: from, To: to})
	}
	slices.SortFunc(all, func(a, b *metapb.UIDMapping) int { return strings.Compare(a.From, b.From) })
	return all
}

// badRestore gives the errors of package restore their exit code.
func badRestore(err error) error {
	if errors.Is(err, restore.ErrIncompatible) {
		return failure(exitIncompatible, "SNAPSHOT_INCOMPATIBLE", err.Error())
	}
	return err
}

func (c *cli) checkTable(r *compat.Report) {
	rows := [][]string{{"OPERATOR", "STATE", "KIND", "VERDICT", "SIZE", "WHY"}}
	for _, op := range r.Operators {
		rows = append(rows, []string{op.UID, "", "", string(op.Verdict), size(op.Bytes), op.Detail})
		for _, s := range op.States {
			rows = append(rows, []string{"", s.Name, s.Kind, string(s.Verdict), "", s.Detail})
		}
	}
	c.table(rows)
}
