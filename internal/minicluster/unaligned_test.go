package minicluster_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/internal/minicluster"
)

const many = 200_000 // more than all channels hold

// slowSums is a sink that takes its time for each record.
type slowSums struct{ each time.Duration }

type slowWriter struct {
	sumWriter
	each time.Duration
}

func (s slowSums) NewWriter(setup *weir.Setup) (weir.Writer[uint64], error) {
	return &slowWriter{sumWriter{setup.Sum("results"), setup.Sum("checksum")}, s.each}, nil
}

func (w *slowWriter) Write(v uint64) error {
	<-time.After(w.each) // of the bubble
	return w.sumWriter.Write(v)
}

// backpressured reads as fast as it can, its sinks write a thousand records a second
// each, and a key's records come from both inputs of a union.
func backpressured(env *weir.Env) error {
	first := env.From("in", generator.Range(many/2, func(i uint64) uint64 { return i }))
	second := env.From("more", generator.Range(many/2, func(i uint64) uint64 { return i + many/2 }))
	first.Union(second).
		KeyBy(func(v uint64) uint64 { return v % keys }).
		Process("count", newCount).
		Rebalance().
		To("out", slowSums{time.Millisecond})
	return nil
}

// TestBackPressure: a sink that is slow for ever does not hold up checkpoints, and
// what they captured is processed once, through losses of TaskManagers.
func TestBackPressure(t *testing.T) {
	for _, settings := range []map[string]string{
		{"state.backend.type": "heap"},
		{"state.backend.type": "pebble", "execution.checkpointing.aligned-checkpoint-timeout": "0 s"},
		{"state.backend.type": "heap", "execution.checkpointing.unaligned.enabled": "false"}, // so slow it is then
	} {
		t.Run(fmt.Sprint(settings), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { backPressure(t, dir, settings) })
		})
	}
}

func backPressure(t *testing.T, dir string, settings map[string]string) {
	plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, backpressured)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	if c.Cluster, err = minicluster.Start(minicluster.Options{TaskManagers: 2, Dir: dir, NewProgram: program, Memory: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	settings["parallelism.default"], settings["execution.checkpointing.interval"] = "2", "500 ms"
	if c.id, err = c.Submit(context.Background(), plan, settings); err != nil {
		t.Fatal(err)
	}
	if settings["execution.checkpointing.unaligned.enabled"] == "false" {
		c.until("an aligned checkpoint", func() bool { return c.view().LastCheckpoint != nil })
		if d := c.view().LastCheckpoint.DurationMS; d < 10_000 {
			t.Errorf("an aligned checkpoint took %d ms: there is no back pressure", d)
		}
		return
	}
	var worst int64
	for kill := range 2 {
		from := c.view().Checkpoints.Completed
		c.until("checkpoints under back pressure", func() bool {
			if l := c.view().LastCheckpoint; l != nil {
				worst = max(worst, l.DurationMS)
			}
			return c.view().Checkpoints.Completed >= from+3
		})
		if records, unaligned := c.inFlight(); records == 0 || !unaligned {
			t.Errorf("%d bytes are in flight in the last checkpoint, unaligned: %v", records, unaligned)
		}
		if err := c.StopTaskManager(kill); err != nil {
			t.Fatal(err)
		}
		if err := c.AddTaskManager(); err != nil {
			t.Fatal(err)
		}
		c.until("a restart", func() bool { return c.view().Restarts > kill })
	}
	if worst > 2000 {
		t.Errorf("the slowest checkpoint took %d ms", worst)
	}
	if n := c.backpressuredIsRight(); n != 2 {
		t.Errorf("%d restarts: %+v", n, c.view().Failures)
	}
}

// TestAtLeastOnce: the job asks for less, and gets it: no channel waits for a barrier, so
// what comes behind one is processed before the snapshot, and once more after a loss.
func TestAtLeastOnce(t *testing.T) {
	for mode, want := range map[string]string{"EXACTLY_ONCE": "each once", "AT_LEAST_ONCE": "some twice"} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, backpressured)
				if err != nil {
					t.Fatal(err)
				}
				c := &cluster{t: t}
				if c.Cluster, err = minicluster.Start(minicluster.Options{TaskManagers: 2, Dir: dir, NewProgram: program, Memory: 8 << 20}); err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if c.id, err = c.Submit(context.Background(), plan, map[string]string{
					"state.backend.type": "heap", "parallelism.default": "2", "execution.checkpointing.interval": "500 ms",
					"execution.checkpointing.mode": mode, "execution.checkpointing.unaligned.enabled": "false",
				}); err != nil {
					t.Fatal(err)
				}
				c.until("a checkpoint", func() bool { return c.view().LastCheckpoint != nil })
				if err := c.StopTaskManager(1); err != nil {
					t.Fatal(err)
				}
				if err := c.AddTaskManager(); err != nil {
					t.Fatal(err)
				}
				r, err := c.Wait(context.Background(), c.id)
				if err != nil {
					t.Fatal(err)
				}
				got := "each once"
				switch n := c.view().Result.Sums["results"]; {
				case n < many:
					got = fmt.Sprintf("%d of %d", n, many)
				case n > many:
					got = "some twice"
				}
				if r.State != api.StateFinished || got != want {
					t.Errorf("the job is %s with %s, want %s", r.State, got, want)
				}
			})
		})
	}
}

// TestRescaleUnderBackPressure: what was in flight goes to whoever has its keys now.
func TestRescaleUnderBackPressure(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, backpressured)
		if err != nil {
			t.Fatal(err)
		}
		c := &cluster{t: t}
		if c.Cluster, err = minicluster.Start(minicluster.Options{TaskManagers: 3, Dir: dir, NewProgram: program, Memory: 8 << 20}); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.id, err = c.Submit(context.Background(), plan, map[string]string{
			"state.backend.type": "heap", "parallelism.default": "2", "execution.checkpointing.interval": "500 ms", "execution.checkpointing.aligned-checkpoint-timeout": "100 ms",
		}); err != nil {
			t.Fatal(err)
		}
		for _, parallelism := range []int{3, 1, 2} {
			from := c.view().Checkpoints.Completed
			c.until("checkpoints under back pressure", func() bool { return c.view().Checkpoints.Completed >= from+3 })
			trigger, err := c.JobManager().API().Rescale(context.Background(), c.id, api.RescaleRequest{Parallelism: parallelism})
			if err != nil {
				t.Fatal(err)
			}
			c.until("the rescale is done", func() bool {
				o, err := c.JobManager().API().Operation(context.Background(), c.id, trigger)
				return err == nil && o.Status.ID == api.OperationCompleted
			})
			if p := c.view().Vertices[len(c.view().Vertices)-1].Parallelism; p != parallelism {
				t.Errorf("the sinks' parallelism is %d, want %d", p, parallelism)
			}
		}
		c.backpressuredIsRight()
	})
}

// backpressuredIsRight waits for the end of that job and compares its sums with the
// truth.
func (c *cluster) backpressuredIsRight() (restarts int) {
	c.t.Helper()
	if _, err := c.Wait(context.Background(), c.id); err != nil {
		c.t.Fatal(err)
	}
	sum := uint64(0)
	for v := range uint64(many) {
		n := v/keys + 1
		sum += v%keys*1_000_003 + n*n
	}
	j := c.view()
	if j.State != api.StateFinished || j.Result.Sums["results"] != many || j.Result.Sums["checksum"] != sum {
		c.t.Errorf("%s after %d restarts with %v, want %d results with checksum %d", j.State, j.Restarts, j.Result, many, sum)
	}
	return j.Restarts
}

// inFlight is what the last checkpoint says of records in flight.
func (c *cluster) inFlight() (bytes uint64, unaligned bool) {
	d, err := c.JobManager().API().CheckpointDetails(context.Background(), c.id, c.view().LastCheckpoint.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range d.Vertices {
		for _, s := range v.Subtasks {
			bytes += s.InFlightBytes
			unaligned = unaligned || s.Unaligned
		}
	}
	return bytes, unaligned
}
