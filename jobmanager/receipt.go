package jobmanager

import (
	"sync"
	"time"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/job"
)

// receipt is what a leader says of the jobs that it has taken over. Any goroutine may ask.
type receipt struct {
	mu    sync.Mutex
	r     api.Takeover
	began time.Time
}

func newReceipt(epoch uint64) *receipt {
	return &receipt{r: api.Takeover{Epoch: epoch}, began: time.Now()}
}

// open: there is one more job of which it is not known yet what runs.
func (r *receipt) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Jobs++
	r.r.Open++
}

// heard: a TaskManager has been without a leader for so long.
func (r *receipt) heard(leaderless uint64, open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if open {
		r.r.LeaderlessMS = max(r.r.LeaderlessMS, int64(leaderless))
	}
}

// settled: it is known of one more job.
func (r *receipt) settled(adopted, restarted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Open--
	r.r.Adopted += adopted
	r.r.Restarted += restarted
	r.r.TookMS = max(1, time.Since(r.began).Milliseconds())
}

// view is the receipt as it is now; nil if there was nothing to take over.
func (r *receipt) view() *api.Takeover {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.r.Jobs == 0 {
		return nil
	}
	v := r.r
	return &v
}

// takenOver: it is known what becomes of a job.
type takenOver struct {
	id                 job.ID
	adopted, restarted int
}

func (e *takenOver) handle(d *Dispatcher) {
	if !d.open[e.id] {
		return
	}
	delete(d.open, e.id)
	d.receipt.settled(e.adopted, e.restarted)
	if v := d.receipt.view(); v.Open == 0 {
		d.log.Info("jobs taken over", "jobs", v.Jobs, "adopted", v.Adopted, "restarted", v.Restarted, "leaderless_ms", v.LeaderlessMS, "took_ms", v.TookMS)
	}
}
