package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
)

func (c *cli) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Look into savepoints and retained checkpoints, copy and delete them",
		Long: `Look into savepoints and retained checkpoints, copy and delete them. PATH is the folder of a
snapshot or its _metadata. Except for delete no cluster is needed: the folder must be within reach.`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(
		&cobra.Command{
			Use: "list DIR", Short: "List the snapshots in a folder and in its folders, oldest first", Args: words("DIR"),
			RunE: c.onPaths(func(ctx context.Context, args []string) error { return c.snapshotList(ctx, args[0]) }),
		},
		&cobra.Command{
			Use: "describe PATH", Short: "Show what a snapshot is and holds", Args: words("PATH"),
			RunE: c.onPaths(func(ctx context.Context, args []string) error { return c.snapshotDescribe(ctx, args[0]) }),
		},
		&cobra.Command{
			Use: "verify PATH", Short: "Read every byte of a snapshot; exit code 0 only if it is intact", Args: words("PATH"),
			RunE: c.onPaths(func(ctx context.Context, args []string) error { return c.snapshotVerify(ctx, args[0]) }),
		},
		&cobra.Command{
			Use: "diff PATH PATH", Short: "Compare two snapshots: operators, states, sizes, shared files", Args: words("PATH", "PATH"),
			RunE: c.onPaths(func(ctx context.Context, args []string) error { return c.snapshotDiff(ctx, args[0], args[1]) }),
		},
		c.snapshotStateCommand(), c.snapshotCopyCommand(), c.snapshotDeleteCommand(),
	)
	return cmd
}

// onPaths runs f with its arguments, all of them paths, as folderTyped has them.
func (c *cli) onPaths(f func(ctx context.Context, paths []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		for i, a := range args {
			path, err := folderTyped(a)
			if err != nil {
				return err
			}
			args[i] = path
		}
		return f(cmd.Context(), args)
	}
}

// badSnapshot gives the errors of package savepoint their codes.
func badSnapshot(err error) error {
	for _, k := range []struct {
		err  error
		exit int
		code string
	}{
		{savepoint.ErrNotFound, exitNotFound, "SNAPSHOT_NOT_FOUND"}, {savepoint.ErrNewer, exitIncompatible, "SNAPSHOT_NEWER"},
		{savepoint.ErrDamaged, exitIncompatible, "SNAPSHOT_DAMAGED"}, {savepoint.ErrForeign, exitIncompatible, "SNAPSHOT_FOREIGN"},
		{savepoint.ErrTarget, exitConflict, "TARGET_FOLDER"},
	} {
		if errors.Is(err, k.err) {
			return &exitError{Exit: k.exit, Code: k.code, Lines: strings.Split(err.Error(), "\n")}
		}
	}
	return err
}

func (c *cli) snapshotList(ctx context.Context, dir string) error {
	all, err := savepoint.List(ctx, dir)
	if errors.Is(err, os.ErrNotExist) {
		return failure(exitNotFound, "NO_FOLDER", fmt.Sprintf("there is no folder %s", dir))
	}
	if err != nil {
		return badSnapshot(err)
	}
	views, names := []savepoint.Description{}, []string{}
	for _, l := range all {
		if l.Err != nil {
			c.say("warning: " + oneLine(l.Err.Error()))
			continue
		}
		views, names = append(views, l.Description), append(names, l.Location)
	}
	if done, err := c.structured(views, names); done {
		return err
	}
	if len(views) == 0 {
		c.say("no snapshots in " + dir)
		return nil
	}
	rows := [][]string{{"TYPE", "JOB", "CHECKPOINT", "TAKEN", "SIZE", "PATH"}}
	for _, d := range views {
		rows = append(rows, []string{d.Type, orDash(d.JobName), strconv.FormatUint(d.CheckpointID, 10), clock(d.TriggeredAt), size(uint64(d.Bytes)), d.Location})
	}
	c.table(rows)
	return nil
}

func (c *cli) snapshotDescribe(ctx context.Context, path string) error {
	d, err := savepoint.Describe(ctx, path)
	if err != nil {
		return badSnapshot(err)
	}
	if done, err := c.structured(d, []string{d.Location}); done {
		return err
	}
	needs := "nothing outside of its folder; it can be moved"
	if !d.SelfContained {
		needs = strings.Join(d.RefersTo, ", ")
		if needs == "" {
			needs = "nothing"
		}
	}
	c.table([][]string{
		{"snapshot", d.Location}, {"type", d.Type}, {"job", fmt.Sprintf("%s %s", d.JobName, d.JobID)},
		{"checkpoint", fmt.Sprintf("%d, %s, taken %s UTC in %s", d.CheckpointID, d.Kind, clock(d.TriggeredAt), since(d.DurationMs))},
		{"size", fmt.Sprintf("%s in %d files, _metadata %s, format %d", size(uint64(d.Bytes)), d.Files, size(uint64(d.MetadataBytes)), d.FormatVersion)},
		{"needs", needs},
	})
	if len(d.Operators) == 0 {
		return nil
	}
	fmt.Fprintln(c.stdout)
	rows := [][]string{{"OPERATOR", "PARALLELISM", "STATE", "KIND", "TYPE", "ENTRIES", "SIZE"}}
	for _, o := range d.Operators {
		rows = append(rows, []string{o.UID, strconv.Itoa(o.Parallelism), "", "", keyOf(o), strconv.FormatUint(o.Entries, 10), size(uint64(o.Bytes))})
		for _, s := range o.States {
			entries := ""
			if s.Entries > 0 {
				entries = strconv.Itoa(s.Entries)
			}
			rows = append(rows, []string{"", "", s.Name, s.Kind, s.Type, entries})
		}
	}
	c.table(rows)
	return nil
}

func keyOf(o savepoint.Operator) string {
	if o.KeyType == "" {
		return ""
	}
	return "key " + o.KeyType
}

// verified is the JSON form of what verify finds.
type verified struct {
	Location string            `json:"location"`
	Intact   bool              `json:"intact"`
	Files    int               `json:"files"`
	Bytes    int64             `json:"bytes"`
	Problems []verifiedProblem `json:"problems"`
}

type verifiedProblem struct {
	Operator string `json:"operator"`
	Subtask  int    `json:"subtask"`
	Run      string `json:"run"`
	File     string `json:"file"`
	Error    string `json:"error"`
}

// mostProblems are shown to people; if there are more, one more does not help.
const mostProblems = 4

func (c *cli) snapshotVerify(ctx context.Context, path string) error {
	s, err := savepoint.Open(ctx, path)
	if err != nil {
		return badSnapshot(err)
	}
	defer s.Close()
	found, err := s.Verify(ctx)
	if err != nil {
		return badSnapshot(err)
	}
	v := verified{Location: s.Folder(), Intact: len(found.Problems) == 0, Files: found.Files, Bytes: found.Bytes, Problems: []verifiedProblem{}}
	lines := []string{fmt.Sprintf("snapshot %s is damaged: %d of %d files", s.Folder(), len(found.Problems), found.Files)}
	for i, p := range found.Problems {
		// Who, which run and which file stand beside it.
		cause := strings.TrimPrefix(p.Err.Error(), fmt.Sprintf("verify run %s, file %s: ", p.Run, p.File))
		v.Problems = append(v.Problems, verifiedProblem{p.Operator, p.Subtask, p.Run, p.File, cause})
		switch {
		case i < mostProblems:
			lines = append(lines, fmt.Sprintf("operator %q, subtask %d, %s: %s", p.Operator, p.Subtask, cmp.Or(p.File, "run "+p.Run), cause))
		case i == mostProblems:
			lines = append(lines, fmt.Sprintf("and %d more; -o json has all", len(found.Problems)-mostProblems))
		}
	}
	if _, err := c.structured(v, []string{v.Location}); err != nil {
		return err
	}
	if !v.Intact {
		return &exitError{Exit: exitIncompatible, Code: "SNAPSHOT_DAMAGED", Lines: lines}
	}
	c.say(fmt.Sprintf("snapshot %s is intact: %d files, %s", v.Location, v.Files, size(uint64(v.Bytes))))
	return nil
}

func (c *cli) snapshotDiff(ctx context.Context, from, to string) error {
	d, err := savepoint.Diff(ctx, from, to)
	if err != nil {
		return badSnapshot(err)
	}
	if done, err := c.structured(d, []string{d.From, d.To}); done {
		return err
	}
	share := func(s savepoint.Share) string { return fmt.Sprintf("%s in %d files", size(uint64(s.Bytes)), s.Files) }
	c.table([][]string{{"from", d.From}, {"to", d.To}, {"in both", share(d.Both)}, {"only in from", share(d.OnlyFrom)}, {"only in to", share(d.OnlyTo)}})
	if len(d.Operators) == 0 {
		return nil
	}
	fmt.Fprintln(c.stdout)
	rows := [][]string{{"OPERATOR", "STATE", "CHANGE", "FROM", "TO"}}
	for _, o := range d.Operators {
		rows = append(rows, []string{o.UID, "", o.Change, operatorCell(o.From), operatorCell(o.To)})
		for _, s := range o.States {
			rows = append(rows, []string{"", s.Name, s.Change, stateCell(s.From), stateCell(s.To)})
		}
	}
	c.table(rows)
	return nil
}

func operatorCell(o *savepoint.Operator) string {
	if o == nil {
		return "-"
	}
	return fmt.Sprintf("%s, %d entries, parallelism %d", size(uint64(o.Bytes)), o.Entries, o.Parallelism)
}

func stateCell(s *savepoint.State) string {
	if s == nil {
		return "-"
	}
	cell := s.Kind + " " + s.Type
	if s.Entries > 0 {
		cell += fmt.Sprintf(", %d entries", s.Entries)
	}
	return cell
}

func (c *cli) snapshotCopyCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "copy PATH TO", Short: "Copy a snapshot into a folder of its own, which can be moved",
		Long: `Copy a snapshot into the folder TO, which is made: with everything that it needs, so that TO can be
moved. Every byte is verified on the way. The folder is the only line on stdout.`,
		Args: words("PATH", "TO"),
		RunE: c.onPaths(func(ctx context.Context, args []string) error {
			typed, err := parseFormat(format)
			if err != nil {
				return err
			}
			kind := metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL
			if typed == api.FormatNative {
				kind = metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE
			}
			began := time.Now()
			d, err := savepoint.Copy(ctx, args[0], args[1], kind)
			if err != nil {
				return badSnapshot(err)
			}
			c.say(fmt.Sprintf("copied %s in %d files after %s", size(uint64(d.Bytes)), d.Files, took(began)))
			if done, err := c.structured(d, []string{d.Location}); done {
				return err
			}
			fmt.Fprintln(c.stdout, d.Location)
			return nil
		}),
	}
	cmd.Flags().StringVar(&format, "type", "", "canonical (default): one sorted run for each operator, for any backend; native: the runs as they are, quicker")
	return cmd
}

func (c *cli) snapshotDeleteCommand() *cobra.Command {
	var yes, offline bool
	cmd := &cobra.Command{
		Use: "delete PATH", Short: "Delete a savepoint or a retained checkpoint",
		Long: `Delete a savepoint or a retained checkpoint. The cluster is asked to, so that nothing is deleted that
a job needs. With --offline nobody is asked: only you know then that no job needs it.`,
		Args: words("PATH"),
		RunE: c.onPaths(func(ctx context.Context, args []string) error {
			if !yes {
				if err := c.confirm("delete " + args[0] + "?"); err != nil {
					return err
				}
			}
			if !offline {
				return c.dispose(ctx, operationFlags{}, args[0])
			}
			d, err := savepoint.Delete(ctx, args[0])
			if err != nil {
				return badSnapshot(err)
			}
			c.say(fmt.Sprintf("deleted %s: %s in %d files", d.Location, size(uint64(d.Bytes)), d.Files))
			_, err = c.structured(d, []string{d.Location})
			return err
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&offline, "offline", false, "delete it without asking the cluster whether a job needs it")
	return cmd
}

// confirm asks on a terminal; elsewhere --yes must have been given.
func (c *cli) confirm(question string) error {
	f, ok := c.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("this deletes something, and there is no terminal to ask", "--yes")
	}
	fmt.Fprint(c.stderr, question+" [y/N] ")
	answer, err := bufio.NewReader(f).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return failure(exitFailed, "NOT_CONFIRMED", "nothing was deleted")
	}
	return nil
}
