package savepoint

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// TestTransform: values are mapped to another type and filtered, states and operators are
// renamed and dropped; all else is what it was, and the source too.
func TestTransform(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j"))
	was := contents(t, from)
	before := files(t, filepath.Join(dir, "j"))
	to := filepath.Join(dir, "sp")
	d, err := Transform(ctx, from, to,
		MapValues("count", "total", func(k string, v int64) (string, bool, error) { return strings.Repeat("x", int(v%7)), k != key(11), nil }),
		DropState("count", "last"), RenameState("count", "names", "labels"), RenameUID("count", "sum"), RenameState("source", "splits", "parts"))
	if err != nil || d.Operators[0].UID != "source" || d.Operators[1].UID != "sum" || len(d.Operators[1].States) != 3 || d.Operators[0].States[0].Name != "parts" {
		t.Fatalf("%+v, %v", d, err)
	}
	if !maps.EqualFunc(before, files(t, filepath.Join(dir, "j")), func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("the source has changed")
	}
	s := ok(Open(ctx, to))
	defer s.Close()
	r := ok(s.Operator("sum"))
	n := 0
	if err := r.Values(ctx, "total", func(k, v string) error {
		if n++; k == key(11) || was[k] == "" || v != strings.Repeat("x", len(v)) {
			t.Errorf("%s is %q", k, v)
		}
		return nil
	}); err != nil || n < 30 {
		t.Errorf("%d values, %v", n, err)
	}
	if err := r.Maps(ctx, "labels", func(k, n, v string) error {
		if !strings.Contains(was[k], n+"="+v+";") {
			t.Errorf("%s: %s is %s", k, n, v)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := r.Lists(ctx, "last", func(string, []uint32) error { return nil }); err == nil {
		t.Error("a dropped state is there")
	}
	if v := ok(Verify(ctx, to)); len(v.Problems) > 0 {
		t.Error(v.Err())
	}
	broken := errors.New("broken")
	for what, c := range map[string]Change{
		"no operator":  DropOperator("none"),
		"uid taken":    RenameUID("count", "source"),
		"no state":     DropState("count", "none"),
		"name taken":   RenameState("count", "total", "last"),
		"another type": MapValues("count", "total", func(string, string) (string, bool, error) { return "", false, nil }),
		"f fails":      MapValues("count", "total", func(string, int64) (int64, bool, error) { return 0, false, broken }),
	} {
		at := filepath.Join(dir, "not", what)
		if _, err := Transform(ctx, from, at, c); err == nil || what == "f fails" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
		if left := files(t, dir); len(left) > 0 {
			for name := range left {
				if strings.HasPrefix(name, "not/") {
					t.Errorf("%s: %s is left", what, name)
				}
			}
		}
	}
	d = ok(Transform(ctx, from, filepath.Join(dir, "same"), DropOperator("source")))
	if got := contents(t, d.Location); !maps.Equal(got, was) || len(d.Operators) != 1 {
		t.Errorf("%v, want %v", got, was)
	}
}
