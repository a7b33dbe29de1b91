package savepoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
)

// contents are what the readers find, in words.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	ctx := context.Background()
	s := ok(Open(ctx, path))
	defer s.Close()
	r := ok(s.Operator("count"))
	found := map[string]string{}
	for _, err := range []error{
		r.Values(ctx, "total", func(k string, v int64) error {
			found[k] += fmt.Sprint("total ", v, "; ")
			return nil
		}),
		r.Maps(ctx, "names", func(k, n, v string) error {
			found[k] += fmt.Sprint(n, "=", v, "; ")
			return nil
		}),
		r.Lists(ctx, "last", func(k string, list []uint32) error {
			for _, e := range list {
				found[k] += fmt.Sprint(e, ", ")
			}
			return nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestRead: what is read of a checkpoint or savepoint is what a restore finds.
func TestRead(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	_, from := small(t, filepath.Join(dir, "j"))
	want := read(t, from, 1)
	to := filepath.Join(dir, "sp")
	ok(Copy(ctx, from, to, canonical))
	for _, path := range []string{from, to} {
		if got := contents(t, path); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	s := ok(Open(ctx, from))
	defer s.Close()
	r := ok(s.Operator("count"))
	for i := range 100 {
		v, found, err := r.Value[string, int64](ctx, "total", key(i))
		if text := want[key(i)]; err != nil || found != (text != "") || found && text[:len(fmt.Sprint("total ", v))] != fmt.Sprint("total ", v) {
			t.Errorf("%s: %d, %v, %v; want %s", key(i), v, found, err, text)
		}
	}
	timers := 0
	if err := r.Timers(ctx, "timers", func(k string, at int64) error {
		if k != key(int(at)) {
			t.Errorf("timer of %s at %d", k, at)
		}
		timers++
		return nil
	}); err != nil || timers < 40 {
		t.Errorf("%d timers, %v", timers, err)
	}
	splits := 0
	for range ok(s.Operator("source")).Entries("splits") {
		splits++
	}
	if splits != 4 {
		t.Errorf("%d splits", splits)
	}
	for what, err := range map[string]error{
		"no operator": second(s.Operator("sum")),
		"no state":    r.Values(ctx, "sum", func(string, int64) error { return nil }),
		"another key": r.Values(ctx, "total", func(int64, int64) error { return nil }),
		"another type": r.Values(ctx, "total", func(string, string) error {
			return nil
		}),
		"another kind": r.Lists(ctx, "total", func(string, []int64) error { return nil }),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	stop := errors.New("stop")
	if err := r.Values(ctx, "total", func(string, int64) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestBootstrap: a savepoint that a Writer wrote restores; sorting spills, the last of an
// entry put twice counts, and nothing is left behind.
func TestBootstrap(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	t.Setenv("TMPDIR", ok(os.MkdirTemp(dir, "sort")))
	to := filepath.Join(dir, "sp")
	w := ok(Create(ctx, to, "bootstrap"))
	o := w.Operator("count", 3)
	o.sorter.memory = 1000
	total, names := ok(o.Values[string, int64]("total")), ok(o.Maps[string, string, string]("names"))
	last, timers := ok(o.Lists[string, uint32]("last")), ok(o.Timers[string]("timers"))
	want := map[string]string{}
	for round := range 2 {
		for i := range 80 {
			i = 7 * i % 80
			for _, err := range []error{
				total.Put(key(i), int64(i+round)), names.Put(key(i), "a", key(i)), names.Put(key(i), "b", key(i)),
				last.Put(key(i), []uint32{1, uint32(i)}), timers.Put(key(i), int64(i)-40),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			want[key(i)] = fmt.Sprintf("total %d; a=%s; b=%s; 1, %d, ", i+round, key(i), key(i), i)
		}
	}
	source := w.Operator("source", 1)
	if err := source.Entries(0, "splits", metapb.StateKind_STATE_KIND_SPLIT_LIST, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if len(o.sorter.runs) < 3 {
		t.Errorf("%d runs were spilled", len(o.sorter.runs))
	}
	d, err := w.Finish()
	if err != nil || len(d.Operators) != 2 || !d.SelfContained {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, p := range []int{1, 2, 3, 5} {
		if got := read(t, to, p); !maps.Equal(got, want) {
			t.Errorf("at parallelism %d: %v, want %v", p, got, want)
		}
	}
	if got := contents(t, to); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if v := ok(Verify(ctx, to)); len(v.Problems) > 0 {
		t.Errorf("%v", v.Err())
	}
	if left := ok(os.ReadDir(os.Getenv("TMPDIR"))); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := Create(ctx, to, "again"); !errors.Is(err, ErrTarget) {
		t.Errorf("a savepoint was to be overwritten: %v", err)
	}
}

// TestAbort: nothing is left of a savepoint that failed.
func TestAbort(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "sp")
	w := ok(Create(context.Background(), to, "x"))
	o := w.Operator("count", 1)
	v := ok(o.Values[string, string]("v"))
	if err := v.Put("a", "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Values[int64, string]("w"); err == nil {
		t.Error("keys of two types")
	}
	if _, err := w.Finish(); err == nil {
		t.Error("finished")
	}
	if left := ok(os.ReadDir(dir)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestShow: entries are shown without the program's types, one key's too.
func TestShow(t *testing.T) {
	_, from := small(t, filepath.Join(t.TempDir(), "j"))
	s := ok(Open(context.Background(), from))
	defer s.Close()
	r := ok(s.Operator("count"))
	show := func(r *Reader, state, key string) (lines []string) {
		err := r.Show(context.Background(), state, key, func(e Shown) error {
			*e.KeyGroup = 0
			lines = append(lines, string(ok(json.Marshal(e))))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	if got := show(r, "total", ""); len(got) != len(contents(t, from)) {
		t.Errorf("%d entries: %s", len(got), got)
	}
	got := strings.Join(show(r, "", key(45)), "\n")
	want := contents(t, from)[key(45)]
	for _, text := range []string{`"state":"total"`, `"value":2045`, `"map-key":"round2","value":"key-0045"`, `"value":[0,45,2,45]`, `"time":"1970-01-01T00:00:00.045Z"`} {
		if !strings.Contains(got, text) {
			t.Errorf("no %s in\n%s\n%s", text, got, want)
		}
	}
	if err := r.Show(context.Background(), "none", "", nil); err == nil {
		t.Error("no state of that name")
	}
	n := 0
	if err := ok(s.Operator("source")).Show(context.Background(), "splits", "", func(e Shown) error {
		n++
		return nil
	}); err != nil || n != 4 {
		t.Errorf("%d splits, %v", n, err)
	}
}
