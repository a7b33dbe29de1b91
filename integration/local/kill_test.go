// Package local holds whole-job tests on a cluster in one process.
package local

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/internal/minicluster"
)

type rec struct{ Key, Value uint64 }

func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

type count struct{ n *weir.Value[uint64] }

func newCount(s *weir.Setup) *count { return &count{s.Value[uint64]("n")} }

func (c *count) Process(_ *weir.Ctx[uint64], r rec, out *weir.Collector[uint64]) error {
	n, _ := c.n.Get()
	n++
	c.n.Set(n)
	out.Emit(mix(r.Key*1000003 + n))
	return nil
}

type sums struct{}

type sumWriter struct{ results, checksum *weir.Sum }

func (sums) NewWriter(s *weir.Setup) (weir.Writer[uint64], error) {
	return &sumWriter{s.Sum("results"), s.Sum("checksum")}, nil
}

func (w *sumWriter) Write(v uint64) error {
	w.results.Add(1)
	w.checksum.Add(v)
	return nil
}

const n, keys = 300_000, 5_000

func build(env *weir.Env) error {
	env.From("events", generator.Range(n, func(i uint64) rec { return rec{mix(i) % keys, i} }, generator.Rate(100_000))).
		KeyBy(func(r rec) uint64 { return r.Key }).
		Process("count", newCount).
		To("sums", sums{})
	return nil
}

// want is what a plain program computes.
func want() (checksum uint64) {
	c := map[uint64]uint64{}
	for i := range uint64(n) {
		k := mix(i) % keys
		c[k]++
		checksum += mix(k*1000003 + c[k])
	}
	return checksum
}

// TestKillTaskManagers: TaskManagers are lost while the job runs; its results are
// those of an undisturbed run, and it really was restarted from checkpoints.
func TestKillTaskManagers(t *testing.T) {
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) { killTaskManagers(t, backend) })
	}
}

func killTaskManagers(t *testing.T, backend string) {
	plan, program, err := weir.Program(build)
	if err != nil {
		t.Fatal(err)
	}
	var log *slog.Logger
	if os.Getenv("WEIR_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := minicluster.Start(minicluster.Options{TaskManagers: 3, Slots: 1, Dir: t.TempDir(), NewProgram: program, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	id, err := c.Submit(ctx, plan, map[string]string{
		"parallelism.default": "2", "execution.checkpointing.interval": "100 ms", "state.backend.type": backend,
	})
	if err != nil {
		t.Fatal(err)
	}
	view := func() *api.Job {
		j, err := c.JobManager().API().Job(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	completed := func() uint64 {
		if j := view(); j.LastCheckpoint != nil {
			return j.LastCheckpoint.ID
		}
		return 0
	}
	for kill := range 2 {
		from := completed()
		for completed() < from+3 { // progress of the protocol, not of a clock
			if api.Terminal(view().State) {
				t.Fatalf("the job ended before kill %d: %+v", kill, view().Failures)
			}
		}
		victim := -1
		for _, s := range view().Vertices[0].Subtasks {
			for i := range 3 + kill {
				if c.TaskManagerID(i) == s.TaskManagerID {
					victim = i
				}
			}
		}
		if err := c.StopTaskManager(victim); err != nil {
			t.Fatal(err)
		}
		if err := c.AddTaskManager(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	j := view()
	if r.State != api.StateFinished || j.Restarts < 2 || j.Checkpoints.RestoredFrom == nil {
		t.Fatalf("state %s after %d restarts, restored from %v: %s", r.State, j.Restarts, j.Checkpoints.RestoredFrom, r.Failure)
	}
	if got := j.Result.Sums; got["results"] != n || got["checksum"] != want() {
		t.Errorf("results %v, want %d records with checksum %d", got, n, want())
	}
}
