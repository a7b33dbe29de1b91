package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/internal/minicluster"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/stream"
)

// tap is a source that trickles until it is opened, so that a job lasts as long as the
// test needs it, on a slow machine too.
type tap struct {
	weir.Source[rec]
	open *atomic.Bool
}

func (s tap) NewReader(c *operator.SourceContext) (operator.Reader[rec], error) {
	r, err := s.Source.NewReader(c)
	return &tapReader{Reader: r, open: s.open}, err
}

type tapReader struct {
	operator.Reader[rec]
	open  *atomic.Bool
	waits bool
}

// Poll implements operator.Reader: twenty records, then 5 ms of rest.
func (r *tapReader) Poll(b *stream.Batch[rec]) (operator.Polled, error) {
	if r.open.Load() {
		return r.Reader.Poll(b)
	}
	if r.waits = !r.waits; r.waits {
		return operator.Polled{Status: operator.PollWait, Wake: 5 * time.Millisecond}, nil
	}
	few := stream.Batch[rec]{Values: b.Values[:0:20]}
	p, err := r.Reader.Poll(&few)
	b.Values = b.Values[:len(few.Values)]
	return p, err
}

// site is a cluster for one test, with the job of this package behind a tap.
type site struct {
	t    *testing.T
	ctx  context.Context
	dir  string
	c    *minicluster.Cluster
	api  jobmanager.API
	plan *metapb.Plan
	open atomic.Bool
}

func newSite(t *testing.T) *site { return newSiteOf(t, 1) }

// newSiteOf has TaskManagers of so many slots.
func newSiteOf(t *testing.T, slots int) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	source := generator.Range(n, func(i uint64) rec { return rec{mix(i) % keys, i} })
	plan, program, err := weir.Program(func(env *weir.Env) error {
		env.From("events", tap{source, &s.open}).
			KeyBy(func(r rec) uint64 { return r.Key }).
			Process("count", newCount).
			To("sums", sums{})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var log *slog.Logger
	if os.Getenv("WEIR_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	s.plan = plan
	if s.c, err = minicluster.Start(minicluster.Options{TaskManagers: 3, Slots: slots, Dir: s.dir, NewProgram: program, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.c.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(losses(t))*10*time.Second)
	t.Cleanup(cancel)
	s.ctx, s.api = ctx, s.c.JobManager().API()
	return s
}

func (s *site) submit(parallelism int, backend string, from api.Restore) job.ID {
	s.t.Helper()
	for !s.c.JobManager().Leads() {
		if s.ctx.Err() != nil {
			s.t.Fatal("nobody leads")
		}
	}
	id, _, err := s.c.JobManager().Submit(s.ctx, jobmanager.Submission{Plan: s.plan, Restore: from, Settings: map[string]string{
		"parallelism.default": fmt.Sprint(parallelism), "execution.checkpointing.interval": "50 ms", "state.backend.type": backend,
		"execution.checkpointing.savepoint-dir":         filepath.Join(s.dir, "savepoints"),
		"execution.checkpointing.data-inline-threshold": "0", // runs are files: there is something to share, to claim and to copy
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *site) view(id job.ID) *api.Job {
	s.t.Helper()
	j, err := s.api.Job(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// progress waits for more checkpoints of a job that runs.
func (s *site) progress(id job.ID, more int) {
	s.t.Helper()
	for n := s.view(id).Checkpoints.Completed; s.view(id).Checkpoints.Completed < n+more; {
		if j := s.view(id); api.Terminal(j.State) {
			s.t.Fatalf("job %s is %s: %+v", id, j.State, j.Failures)
		}
	}
}

// ends waits for the end of an operation.
func (s *site) ends(id job.ID) func(trigger string, err error) *api.OperationResult {
	s.t.Helper()
	return func(trigger string, err error) *api.OperationResult {
		s.t.Helper()
		for err == nil {
			var o *api.Operation
			if o, err = s.api.Operation(s.ctx, id, trigger); err != nil {
				break
			}
			r, over, failure := o.Ended()
			if over && failure == nil {
				return r
			}
			err = failure
		}
		s.t.Fatal(err)
		return nil
	}
}

// finished waits for the end of a job, and holds its results to those of a plain program.
func (s *site) finished(id job.ID) {
	s.t.Helper()
	s.open.Store(true)
	r, err := s.c.Wait(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := s.view(id).Result.Sums; r.State != api.StateFinished || got["results"] != n || got["checksum"] != want() {
		s.t.Errorf("job is %s (%s), results %v, want %d records with checksum %d", r.State, r.Failure, got, n, want())
	}
}

// TestSavepoints: a job is stopped and started again, at another parallelism, on the
// other backend, from savepoints of both types and in each mode; its results are those
// of an undisturbed run.
func TestSavepoints(t *testing.T) {
	for _, format := range []string{api.FormatCanonical, api.FormatNative} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t)
			a := s.submit(2, "heap", api.Restore{})
			s.progress(a, 3)
			sp := s.ends(a)(s.api.Savepoint(s.ctx, a, api.SavepointRequest{FormatType: format}))
			s.progress(a, 2)
			stop := s.ends(a)(s.api.Stop(s.ctx, a, api.StopRequest{FormatType: format}))
			for _, at := range []string{sp.Location, stop.Location} {
				if v, err := savepoint.Verify(s.ctx, at); err != nil {
					t.Errorf("%s: %v: %+v", at, err, v)
				}
			}
			if r, err := s.c.Wait(s.ctx, a); err != nil || r.State != api.StateFinished {
				t.Fatalf("stopped job: %v, %v", r, err)
			}
			if got := s.view(a).Result.Sums["results"]; got == 0 || got >= n {
				t.Fatalf("stopped after %d of %d records", got, n)
			}
			b := s.submit(3, "pebble", api.Restore{Path: stop.Location, Mode: api.RestoreClaim})
			s.progress(b, 3)
			if _, err := savepoint.Open(s.ctx, stop.Location); err != nil && !errors.Is(err, savepoint.ErrNotFound) {
				t.Errorf("claimed savepoint: %v", err)
			}
			s.ends(b)(s.api.Savepoint(s.ctx, b, api.SavepointRequest{FormatType: format, CancelJob: true}))
			if r, err := s.c.Wait(s.ctx, b); err != nil || r.State != api.StateCanceled {
				t.Fatalf("cancelled job: %v, %v", r, err)
			}
			c := s.submit(1, "heap", api.Restore{Path: s.view(b).LastCheckpoint.Path})
			s.progress(c, 3)
			s.ends(c)(s.api.Rescale(s.ctx, c, api.RescaleRequest{Parallelism: 3}))
			if p := s.view(c).Parallelism; p != 3 {
				t.Errorf("rescaled to %d", p)
			}
			s.finished(c)
			// And from the first savepoint, which nobody has touched.
			d := s.submit(2, "pebble", api.Restore{Path: sp.Location, Mode: api.RestoreLegacy})
			s.finished(d)
		})
	}
}

// TestNoClaim: the savepoint can be deleted once the job has checkpoints of its own, and
// the job still recovers.
func TestNoClaim(t *testing.T) {
	for _, backend := range []string{"heap", "pebble"} {
		t.Run(backend, func(t *testing.T) {
			s := newSite(t)
			a := s.submit(2, backend, api.Restore{})
			s.progress(a, 3)
			stop := s.ends(a)(s.api.Stop(s.ctx, a, api.StopRequest{FormatType: api.FormatNative}))
			b := s.submit(2, backend, api.Restore{Path: stop.Location})
			s.progress(b, 4)
			for {
				trigger, err := s.api.Dispose(s.ctx, api.DisposalRequest{Path: stop.Location})
				if err != nil {
					t.Fatal(err)
				}
				if s.disposed(trigger) {
					break
				}
				s.progress(b, 1)
			}
			victim := s.view(b).Vertices[0].Subtasks[0].TaskManagerID
			for i := range 3 {
				if s.c.TaskManagerID(i) == victim {
					if err := s.c.StopTaskManager(i); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.finished(b)
		})
	}
}

func (s *site) disposed(trigger string) bool {
	s.t.Helper()
	for {
		o, err := s.api.Disposal(s.ctx, trigger)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, over, err := o.Ended(); over {
			return err == nil
		}
	}
}

// TestDrain: timers and end-of-input hooks run, and the job ends as if its input had.
func TestDrain(t *testing.T) {
	s := newSite(t)
	a := s.submit(2, "heap", api.Restore{})
	s.progress(a, 2)
	stop := s.ends(a)(s.api.Stop(s.ctx, a, api.StopRequest{Drain: true}))
	if r, err := s.c.Wait(s.ctx, a); err != nil || r.State != api.StateFinished {
		t.Fatalf("drained job: %v, %v", r, err)
	}
	d, err := savepoint.Describe(s.ctx, stop.Location)
	if err != nil || d.Kind != "terminal" {
		t.Errorf("savepoint %+v, %v", d, err)
	}
	for _, op := range d.Operators {
		if op.Ended != op.Parallelism {
			t.Errorf("operator %s: %d of %d subtasks have ended", op.UID, op.Ended, op.Parallelism)
		}
	}
	if got := s.view(a).Result.Sums["results"]; got == 0 || got >= n {
		t.Errorf("drained after %d of %d records", got, n)
	}
}

// leave plants what an attempt leaves behind that is killed between writing a run and
// acking it.
func (s *site) leave(folder string) {
	s.t.Helper()
	runs, err := filepath.Glob(filepath.Join(folder, "shared", "*"))
	if err != nil || len(runs) == 0 {
		s.t.Fatalf("runs in %s: %v, %v", folder, runs, err)
	}
	last := runs[len(runs)-1]
	for _, suffix := range []string{".sst", ".pack"} {
		if err := os.WriteFile(strings.TrimSuffix(last, filepath.Ext(last))+"-9999"+suffix, []byte("run"), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// losses is how many TaskManagers TestNoOrphans takes away, a dozen checkpoints apart:
// three, or WEIR_TEST_LOSSES (84 make a thousand checkpoints).
func losses(t *testing.T) int {
	text := os.Getenv("WEIR_TEST_LOSSES")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("WEIR_TEST_LOSSES: %v", err)
	}
	return n
}

// TestNoOrphans: after many checkpoints with losses, cancelled, what lies in the
// checkpoint folder is what the retained checkpoints list, no more and no less.
func TestNoOrphans(t *testing.T) {
	for _, test := range []struct {
		backend string
		slots   int
	}{{"heap", 1}, {"pebble", 1}, {"heap", 2}, {"pebble", 2}} {
		t.Run(fmt.Sprintf("%s/slots=%d", test.backend, test.slots), func(t *testing.T) {
			s := newSiteOf(t, test.slots)
			a := s.submit(2*test.slots, test.backend, api.Restore{})
			for range losses(t) {
				s.progress(a, 12)
				s.leave(filepath.Dir(s.view(a).LastCheckpoint.Path))
				victim := s.view(a).Vertices[0].Subtasks[0].TaskManagerID
				for i := range 3 + losses(t) {
					if s.c.TaskManagerID(i) == victim {
						if err := s.c.StopTaskManager(i); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := s.c.AddTaskManager(); err != nil {
					t.Fatal(err)
				}
			}
			s.progress(a, 12)
			if err := s.api.Cancel(s.ctx, a); err != nil {
				t.Fatal(err)
			}
			if r, err := s.c.Wait(s.ctx, a); err != nil || r.State != api.StateCanceled {
				t.Fatalf("cancelled job: %v, %v", r, err)
			}
			folder := filepath.Dir(s.view(a).LastCheckpoint.Path)
			listed, packs := map[string]bool{}, 0
			checkpoints, err := filepath.Glob(filepath.Join(folder, "chk-*"))
			if err != nil || len(checkpoints) != 3 { // num-retained
				t.Fatalf("checkpoints %v, %v", checkpoints, err)
			}
			for _, path := range checkpoints {
				sp, err := savepoint.Open(s.ctx, path)
				if err != nil {
					t.Fatal(err)
				}
				listed[filepath.Join(filepath.Base(path), "_metadata")] = true
				for _, op := range sp.Metadata().Operators {
					for _, sub := range op.Subtasks {
						for _, run := range sub.Runs {
							for _, f := range run.Files {
								listed[f.Name] = true
								packs += int(min(f.PackSize, 1))
							}
						}
					}
				}
				if err := sp.Close(); err != nil {
					t.Fatal(err)
				}
			}
			err = fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && !listed[name] {
					t.Errorf("nobody lists %s", name)
				}
				delete(listed, name)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for name := range listed {
				t.Errorf("%s is listed and is not there", name)
			}
			t.Logf("%d checkpoints completed, %d failed, %d restarts", s.view(a).Checkpoints.Completed, s.view(a).Checkpoints.Failed, s.view(a).Restarts)
			if several := test.slots > 1; several != (packs > 0) {
				t.Errorf("%d files in packs, of workers with %d keyed subtasks", packs, test.slots)
			}
		})
	}
}
