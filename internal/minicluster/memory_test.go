package minicluster_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/minicluster"
)

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// shares are the slots and the memory that workers were told of, in order.
func (l *lines) shares() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range regexp.MustCompile(`slots here have changed.* (slots=\d+ memory=\d+)`).FindAllSubmatch(l.b.Bytes(), -1) {
		all = append(all, string(m[1]))
	}
	return all
}

// TestMemoryFollowsSlots: a rescale that gives a worker a slot more, or takes one, gives it
// that slot's memory, or takes it.
func TestMemoryFollowsSlots(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		plan, program, err := weir.ProgramFor(nil, func(string) string { return "" }, build)
		if err != nil {
			t.Fatal(err)
		}
		log := &lines{}
		c := &cluster{t: t}
		if c.Cluster, err = minicluster.Start(minicluster.Options{
			TaskManagers: 1, Slots: 3, Dir: dir, NewProgram: program, Memory: 90 << 20, Log: slog.New(slog.NewTextHandler(log, nil)),
		}); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.id, err = c.Submit(context.Background(), plan, map[string]string{"parallelism.default": "1", "execution.checkpointing.interval": "500 ms"}); err != nil {
			t.Fatal(err)
		}
		for _, parallelism := range []int{3, 2} {
			from := c.view().Checkpoints.Completed
			c.until("a checkpoint", func() bool { return c.view().Checkpoints.Completed > from })
			trigger, err := c.JobManager().API().Rescale(context.Background(), c.id, api.RescaleRequest{Parallelism: parallelism})
			if err != nil {
				t.Fatal(err)
			}
			c.until("the rescale is done", func() bool {
				o, err := c.JobManager().API().Operation(context.Background(), c.id, trigger)
				return err == nil && o.Status.ID == api.OperationCompleted
			})
		}
		c.finished()
		if got, want := log.shares(), []string{"slots=3 memory=94371840", "slots=2 memory=62914560"}; !slices.Equal(got, want) {
			t.Errorf("the worker was told %v, want %v", got, want)
		}
	})
}
