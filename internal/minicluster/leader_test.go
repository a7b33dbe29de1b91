package minicluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/coordinator/ha/memha"
	"github.com/weirstream/weir/internal/minicluster"
	"github.com/weirstream/weir/job"
)

const records, keys = 20_000, 100

// running sums are emitted, so that a record that is lost or counted twice shows in
// the checksum.
type count struct{ n *weir.Value[uint64] }

func newCount(s *weir.Setup) *count { return &count{s.Value[uint64]("n")} }

func (c *count) Process(_ *weir.Ctx[uint64], v uint64, out *weir.Collector[uint64]) error {
	n, _ := c.n.Get()
	n++
	c.n.Set(n)
	out.Emit(v%keys*1_000_003 + n*n)
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

func build(env *weir.Env) error {
	env.From("in", generator.Range(records, func(i uint64) uint64 { return i }, generator.Rate(2000))).
		KeyBy(func(v uint64) uint64 { return v % keys }).
		Process("count", newCount).
		To("out", sums{})
	return nil
}

func checksum() (sum uint64) {
	for v := range uint64(records) {
		n := v/keys + 1
		sum += v%keys*1_000_003 + n*n
	}
	return sum
}

// cluster is a real one with real workers, in a bubble.
type cluster struct {
	*minicluster.Cluster
	t     *testing.T
	store *memha.Store
	id    job.ID
}

func inBubble(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, build)
		if err != nil {
			t.Fatal(err)
		}
		c := &cluster{t: t, store: memha.New()}
		if c.Cluster, err = minicluster.Start(minicluster.Options{TaskManagers: 2, Dir: dir, HA: c.store, NewProgram: program, Memory: 64 << 20}); err != nil {
			t.Fatal(err)
		}
		if c.id, err = c.Submit(t.Context(), plan, map[string]string{
			"parallelism.default": "2", "execution.checkpointing.interval": "500 ms", "state.backend.type": "heap",
		}); err != nil {
			t.Fatal(err)
		}
		test(t, c)
		c.store.SetFault(nil)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) view() *api.Job {
	j, err := c.JobManager().API().Job(c.t.Context(), c.id)
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for range 2000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(50 * time.Millisecond) // of the bubble
	}
	c.t.Fatalf("never: %s; the job is %s, failures %+v, checkpoints %+v", what, c.view().State, c.view().Failures, c.view().Checkpoints)
}

// subtasks is how many the job has.
func (c *cluster) subtasks() (n int) {
	for _, v := range c.view().Vertices {
		n += v.Parallelism
	}
	return n
}

// depose has the leader replaced.
func (c *cluster) depose() {
	c.t.Helper()
	_, epoch, _ := c.JobManager().Leader(c.t.Context())
	c.store.Depose()
	c.until("the next epoch leads", func() bool {
		_, e, err := c.JobManager().Leader(c.t.Context())
		return err == nil && e > epoch && c.JobManager().Leads()
	})
}

func (c *cluster) finished() {
	c.t.Helper()
	r, err := c.Wait(c.t.Context(), c.id)
	if err != nil {
		c.t.Fatal(err)
	}
	got := c.view().Result.Sums
	if r.State != api.StateFinished || got["results"] != records || got["checksum"] != checksum() {
		c.t.Errorf("%s with %v, want %d results with checksum %d", r.State, got, records, checksum())
	}
}

// adopted demands that the present leader has adopted n attempts and restarted nothing.
func (c *cluster) adopted(n int) {
	c.t.Helper()
	c.until("the job is taken over", func() bool {
		l, err := c.JobManager().API().Leader(c.t.Context())
		return err == nil && l.Takeover != nil && l.Takeover.Adopted == n && l.Takeover.Restarted == 0 && l.Takeover.Open == 0
	})
}

// TestLeaderIsReplaced: three times in the middle; each time the subtasks go on, and so do
// checkpoints.
func TestLeaderIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		for range 3 {
			before := c.view().Checkpoints.Completed // by leaders before it: that is on record
			c.until("two checkpoints of this leader", func() bool { return c.view().Checkpoints.Completed >= before+2 })
			c.depose()
			c.adopted(c.subtasks())
		}
		c.finished()
		if j := c.view(); j.Restarts != 0 || j.Checkpoints.RestoredFrom != nil {
			t.Errorf("%d restarts, restored from %+v", j.Restarts, j.Checkpoints.RestoredFrom)
		}
	})
}

// TestLeaderIsReplacedAtTheEnd: the terminal checkpoint is complete, the result is
// not on record. What has committed need not do it again, and the results are right.
func TestLeaderIsReplacedAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.store.SetFault(func(txn ha.Txn) (bool, error) {
			for _, e := range txn.Puts {
				if strings.HasSuffix(e.Key, "/result") {
					return false, ha.ErrUnknown
				}
			}
			return false, nil
		})
		c.until("the terminal checkpoint is complete", func() bool {
			last := c.view().LastCheckpoint
			return last != nil && last.Kind == "terminal"
		})
		c.depose()
		c.store.SetFault(nil)
		c.finished()
		if j := c.view(); j.Checkpoints.RestoredFrom != nil {
			t.Errorf("restored from %+v", j.Checkpoints.RestoredFrom)
		}
	})
}
