package file_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/internal/minicluster"
)

const (
	jobLines = 300_000 // of 46 bytes
	jobKills = 3
)

// TestJobLosesTaskManagers copies lines from files to files on a whole cluster, of
// which a TaskManager is lost again and again: the copy is exact.
func TestJobLosesTaskManagers(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	want := jobInput(t, in)

	// The job gets ahead with a token for each 500 lines, so that it lasts longer than
	// the losses.
	tokens, free := make(chan struct{}), make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			select {
			case tokens <- struct{}{}:
			case <-free:
				close(tokens)
				return
			}
		}
	}()
	var seen atomic.Uint64
	plan, program, err := weir.Program(func(env *weir.Env) error {
		env.From("lines", file.Lines(in+"/**", file.SplitSize(256<<10))).
			Map("pace", func(line string) string {
				if seen.Add(1)%500 == 0 {
					<-tokens
				}
				return line
			}).
			To("copy", file.LineSink(out))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := minicluster.Start(minicluster.Options{
		TaskManagers: 3, NewProgram: program, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Submit(t.Context(), plan, map[string]string{
		"parallelism.default": "2", "execution.checkpointing.interval": "20 ms", "state.backend.type": "heap",
		"restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": "100", "restart-strategy.fixed-delay.delay": "10 ms",
	})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	tooLate := time.After(2 * time.Minute)
	for kill := range jobKills {
		before := len(visible(t, out))
		for len(visible(t, out)) == before { // until a checkpoint has been committed
			select {
			case <-tick.C:
			case <-tooLate:
				t.Fatalf("no checkpoint is committed after %d losses", kill)
			}
		}
		if err := c.StopTaskManager(kill); err != nil {
			t.Logf("TaskManager %d: %v", kill, err)
		}
		if err := c.AddTaskManager(); err != nil {
			t.Fatal(err)
		}
	}
	close(free)
	r, err := c.Wait(t.Context(), id)
	if err != nil || r.State != "FINISHED" {
		t.Fatalf("job: %v, %v", r, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var got []string
	incarnations := map[string]bool{}
	for _, name := range visible(t, out) {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
		incarnations[strings.Split(name, "-")[2]] = true
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, %d of them different, want %d", len(got), len(slices.Compact(slices.Clone(got))), len(want))
	}
	if len(incarnations) < 3 {
		t.Errorf("files of %d incarnations only: nothing was lost while the job ran", len(incarnations))
	}
	if all, _ := os.ReadDir(out); len(all) != len(visible(t, out)) {
		t.Errorf("%d files, %d of them finished", len(all), len(visible(t, out)))
	}
}

// jobInput writes files into dir and returns their lines, sorted.
func jobInput(t *testing.T, dir string) (lines []string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range jobLines {
		lines = append(lines, fmt.Sprintf("%08d the quick brown fox jumps over a dog", i))
	}
	ends := []int{0, jobLines / 2, jobLines/2 + 10, jobLines - 50_000, jobLines}
	for i, name := range []string{"a", "sub/b", ".c", "sub/.d"} {
		text := strings.Join(lines[ends[i]:ends[i+1]], "\n") // no newline at the end
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// visible lists the finished files.
func visible(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
