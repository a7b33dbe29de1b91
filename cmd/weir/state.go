package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/savepoint"
)

func (c *cli) snapshotStateCommand() *cobra.Command {
	var name, key string
	cmd := &cobra.Command{
		Use: "state PATH UID", Short: "Show the state that a snapshot has of an operator",
		Long: `Show the state that a snapshot has of an operator, an entry a line: decoded by the schemas in the
snapshot, without the program. It may have more entries than fit in memory.`,
		Example: "  weir snapshot state /backup/weir/savepoint-0123ab-4f2a count --key ann\n  weir snapshot state /data/chk-7 count --state total -o jsonl",
		Args:    words("PATH", "UID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := folderTyped(args[0])
			if err != nil {
				return err
			}
			return c.snapshotState(cmd.Context(), path, args[1], name, key)
		},
	}
	cmd.Flags().StringVar(&name, "state", "", "only the state of this `NAME`")
	cmd.Flags().StringVar(&key, "key", "", "only entries of this `KEY`: a string as it is, anything else as JSON")
	return cmd
}

func (c *cli) snapshotState(ctx context.Context, path, uid, name, key string) error {
	s, err := savepoint.Open(ctx, path)
	if err != nil {
		return badSnapshot(err)
	}
	defer s.Close()
	r, err := s.Operator(uid)
	if err != nil {
		return failure(exitNotFound, "OPERATOR_NOT_FOUND", oneLine(err.Error()), "weir snapshot describe "+path)
	}
	if err := hasState(s, uid, name); err != nil {
		return err
	}
	w := bufio.NewWriter(c.stdout)
	e := &entryWriter{w: w, form: c.output}
	err = r.Show(ctx, name, key, e.write)
	if err == nil {
		err = errors.Join(e.end(), w.Flush())
	}
	if err != nil {
		return badSnapshot(err)
	}
	if e.n == 0 {
		c.say("no entries")
	}
	return nil
}

// hasState refuses the name of a state that the operator has not.
func hasState(s *savepoint.Snapshot, uid, name string) error {
	var names []string
	for _, o := range s.Describe().Operators {
		for _, st := range o.States {
			if o.UID == uid {
				names = append(names, st.Name)
			}
		}
	}
	if name == "" || slices.Contains(names, name) {
		return nil
	}
	hint := "it has " + strings.Join(names, ", ")
	if near := config.Nearest(name, names); near != "" {
		hint = "did you mean --state " + near + "?"
	}
	return failure(exitNotFound, "STATE_NOT_FOUND", fmt.Sprintf("operator %q has no state %q", uid, name), hint)
}

// entryWriter writes entries one by one, as there may be more than fit in memory.
type entryWriter struct {
	w    io.Writer
	form string // of -o
	n    int
}

func (e *entryWriter) write(s savepoint.Shown) (err error) {
	e.n++
	switch e.form {
	case "json":
		before := ",\n"
		if e.n == 1 {
			before = "[\n"
		}
		b, err := json.Marshal(s)
		if err == nil {
			_, err = fmt.Fprintf(e.w, "%s  %s", before, b)
		}
		return err
	case "jsonl":
		return writeJSON(e.w, s, "")
	case "yaml":
		if e.n > 1 {
			if _, err := io.WriteString(e.w, "---\n"); err != nil {
				return err
			}
		}
		return writeYAML(e.w, s)
	}
	_, err = fmt.Fprintln(e.w, entryLine(s))
	return err
}

// end closes what a JSON array has open.
func (e *entryWriter) end() error {
	if e.form != "json" {
		return nil
	}
	text := "\n]\n"
	if e.n == 0 {
		text = "[]\n"
	}
	_, err := io.WriteString(e.w, text)
	return err
}

// entryLine is an entry for people: state[key][map key] = value.
func entryLine(s savepoint.Shown) string {
	line := s.State
	for _, k := range []any{s.Key, s.MapKey} {
		if k != nil {
			line += "[" + compact(k) + "]"
		}
	}
	switch {
	case s.Time != nil:
		line += " at " + s.Time.UTC().Format(time.RFC3339Nano)
	case s.Value != nil:
		line += " = " + compact(s.Value)
	}
	if s.KeyGroup == nil {
		line += fmt.Sprintf("  (subtask %d)", s.Subtask)
	}
	return line
}

// compact is a value as JSON in one line.
func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
