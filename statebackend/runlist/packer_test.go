package runlist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/objstore/errstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

// TestPacking: when packs are closed, and with what.
func TestPacking(t *testing.T) {
	now := time.Unix(0, 0)
	part := func(size int64) *handover { return &handover{size: size} }
	a, b, c := part(1), part(2), part(packSize)
	hand := func(p *packing, id stream.CheckpointID, h *handover) [][]*handover {
		return p.hand(id, h, now.Add(packLinger))
	}
	for name, test := range map[string]func(p *packing) (got, want any){
		"all have handed over": func(p *packing) (got, want any) {
			p.join(1)
			p.join(1)
			first := hand(p, 1, a)
			return fmt.Sprint(first, hand(p, 1, b)), fmt.Sprint([][]*handover(nil), [][]*handover{{a, b}})
		},
		"the last one leaves": func(p *packing) (got, want any) {
			p.join(1)
			p.join(1)
			hand(p, 1, a)
			return p.leave(1), []*handover{a}
		},
		"alone": func(p *packing) (got, want any) {
			p.join(1)
			return hand(p, 1, a), [][]*handover{{a}}
		},
		"time is up": func(p *packing) (got, want any) {
			p.join(1)
			p.join(1)
			hand(p, 1, a)
			early := p.expire(now.Add(packLinger - 1))
			return fmt.Sprint(early, p.expire(now.Add(packLinger)), hand(p, 1, b)), fmt.Sprint([][]*handover(nil), [][]*handover{{a}}, [][]*handover{{b}})
		},
		"full": func(p *packing) (got, want any) {
			for range 3 {
				p.join(1)
			}
			hand(p, 1, a)
			second := hand(p, 1, c)
			return fmt.Sprint(second, hand(p, 1, b)), fmt.Sprint([][]*handover{{a}}, [][]*handover{{c}, {b}})
		},
		"checkpoints don't mix": func(p *packing) (got, want any) {
			p.join(1)
			p.join(2)
			p.join(2)
			hand(p, 2, a)
			return fmt.Sprint(hand(p, 1, b), p.leave(2)), fmt.Sprint([][]*handover{{b}}, []*handover{a})
		},
		"of a checkpoint long ago": func(p *packing) (got, want any) {
			p.join(1) // and is lost
			p.join(2 + lostAfter)
			open := len(p.open)
			return fmt.Sprint(open, p.leave(1), hand(p, 2+lostAfter, a), len(p.open)), fmt.Sprint(1, []*handover(nil), [][]*handover{{a}}, 0)
		},
	} {
		if got, want := test(new(packing)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// worker has n subtasks with one packer.
func worker(t *testing.T, store objstore.Store, attempt string, n int) (jobs []*job) {
	p := NewPacker(store, attempt, 3)
	for i := range n {
		j := newJob(t, store, attempt)
		j.list.o.Packer, j.list.o.Subtask = p, i
		jobs = append(jobs, j)
	}
	return jobs
}

// freeze changes keys and begins a snapshot.
func (j *job) freeze(keys uint64) *Snapshot {
	j.t.Helper()
	for k := range keys {
		j.s.SetWord(codec.HashWord(k, 8), k)
		j.v.Set(int64(j.id))
	}
	j.id++
	s, err := j.cuts.Freeze(j.id)
	if err != nil {
		j.t.Fatal(err)
	}
	for !j.s.CopyFrozen(1 << 20) {
	}
	return s
}

func (j *job) resolve() {
	j.t.Helper()
	if err := j.cuts.Resolve(func([]string) error { return nil }); err != nil {
		j.t.Fatal(err)
	}
}

// together takes a snapshot of all jobs, which have all frozen before one is finished.
func together(jobs []*job, keys uint64) (results []statebackend.Result, errs []error) {
	var frozen []*Snapshot
	for _, j := range jobs {
		frozen = append(frozen, j.freeze(keys))
	}
	results, errs = make([]statebackend.Result, len(jobs)), make([]error, len(jobs))
	var wg sync.WaitGroup
	for i, s := range frozen {
		wg.Go(func() { results[i], errs[i] = s.Finish(context.Background()) })
	}
	wg.Wait()
	for _, j := range jobs {
		j.resolve()
	}
	return results, errs
}

// packsOf are the packs that a result refers to.
func packsOf(res statebackend.Result) (names []string) {
	for _, r := range res.Runs {
		for _, f := range r.Files {
			if f.PackSize > 0 {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

func objects(t *testing.T, store objstore.Store) (names []string) {
	t.Helper()
	for info, err := range store.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// TestPacks: subtasks that finish together have one object for each checkpoint; a restore
// reads it, by loading and by Link, from the same file system and from elsewhere.
func TestPacks(t *testing.T) {
	fs, err := objstore.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	for _, store := range []objstore.Store{fs, objstore.NewMemory("test")} {
		synctest.Test(t, func(t *testing.T) {
			jobs := worker(t, store, "e1.n1", 4)
			var results []statebackend.Result
			for n := range 3 {
				var errs []error
				if results, errs = together(jobs, 500); errors.Join(errs...) != nil {
					t.Fatal(errs)
				}
				if got := objects(t, store); len(got) != n+1 {
					t.Fatalf("%d checkpoints have the objects %v", n+1, got)
				}
			}
			for i, res := range results {
				if packs := packsOf(res); len(packs) != 3 || !slices.Equal(packs, packsOf(results[0])) || !strings.HasPrefix(packs[0], "shared/") || !strings.Contains(packs[0], "-e1.n1-w3-") {
					t.Fatalf("subtask %d refers to %v", i, packs)
				}
				jobs[i].check(res, 500)
				n := newJob(t, store, fmt.Sprintf("e2.n%d", i))
				if err := n.list.Restore([]statebackend.Restored{{Range: stream.AllKeyGroups, Runs: res.Runs, Schemas: res.Schemas}}); err != nil {
					t.Fatal(err)
				}
				linked, err := n.list.Link(context.Background(), t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				for k, r := range linked {
					if st, err := os.Stat(r.Files[0]); err != nil || st.Size() != int64(res.Runs[k].Files[0].Size) || r.Behind != nil || r.Clip != nil {
						t.Fatalf("%+v: %v", r, err)
					}
				}
				// What was restored stays where it is, and is listed as it was.
				after, err := n.cut(context.Background(), 1)
				if err != nil || !slices.Equal(packsOf(after)[:3], packsOf(res)) {
					t.Fatalf("%v, %v", packsOf(after), err)
				}
			}
		})
	}
}

// TestPackWaitsForNobody: a subtask that is late costs the others packLinger, one that gives
// up nothing, and one that is cancelled while it waits does not take the pack away.
func TestPackWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := objstore.NewMemory("test")
		jobs := worker(t, store, "e1.n1", 4)
		begin := time.Now()
		finish := func(ctx context.Context, s *Snapshot) (res statebackend.Result, err error) {
			res, err = s.Finish(ctx)
			return res, err
		}
		late := jobs[3].freeze(50)
		var wg sync.WaitGroup
		for _, j := range jobs[:2] {
			s := j.freeze(50)
			wg.Go(func() {
				if res, err := finish(context.Background(), s); err != nil || len(packsOf(res)) != 1 || time.Since(begin) != packLinger {
					t.Errorf("%v, %v after %v", packsOf(res), err, time.Since(begin))
				}
			})
		}
		cancelled, cancel := context.WithCancel(context.Background())
		third := jobs[2].freeze(50)
		wg.Go(func() {
			if _, err := finish(cancelled, third); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if res, err := finish(context.Background(), late); err != nil || len(packsOf(res)) != 0 || len(res.Runs) != 1 {
			t.Fatalf("a file alone lies in %v, %v", packsOf(res), err)
		}
		for _, j := range jobs {
			j.resolve()
		}
		begin = time.Now()
		jobs[3].freeze(50).Fail()
		gone := jobs[2].freeze(0)
		for _, j := range jobs[:2] {
			s := j.freeze(50)
			wg.Go(func() {
				if res, err := finish(context.Background(), s); err != nil || len(packsOf(res)) != 2 {
					t.Errorf("%v, %v", packsOf(res), err)
				}
			})
		}
		wg.Go(func() { // it has files from before, and no changes
			if res, err := finish(context.Background(), gone); err != nil || len(packsOf(res)) != 1 {
				t.Errorf("%v, %v", packsOf(res), err)
			}
		})
		wg.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("nobody was missing, and they waited for %v", took)
		}
	})
}

// TestPackFails: a pack that can't be stored fails all with a part in it, by its name; the
// next snapshot has their files. One that was stored after all is read back.
func TestPackFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := objstore.NewMemory("test")
		store := errstore.New(memory, errstore.Fault{Op: errstore.Commit, Match: "shared/*.pack", Times: 1})
		jobs := worker(t, store, "e1.n1", 3)
		_, errs := together(jobs, 50)
		for i, err := range errs {
			if !errors.Is(err, errstore.ErrInjected) || !strings.Contains(err.Error(), "-w3-1.pack of 3 subtasks") || !strings.Contains(err.Error(), fmt.Sprintf("-op-%d-", i)) {
				t.Errorf("subtask %d: %v", i, err)
			}
		}
		if got := objects(t, memory); len(got) > 0 {
			t.Errorf("%v are there", got)
		}
		store.Add(errstore.Fault{Op: errstore.Commit, Match: "shared/*.pack", Kind: errstore.Applied})
		results, errs := together(jobs, 50)
		if errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		for i, res := range results {
			if packs := packsOf(res); len(packs) != 2 || packs[0] != packs[1] {
				t.Errorf("the runs of both lie in %v", packs)
			}
			jobs[i].check(res, 50)
		}
	})
}

// TestUnpacked: a subtask whose keys don't change any more does not keep packs for ever;
// what takes the place of its part is another object, and the run is the same.
func TestUnpacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := objstore.NewMemory("test")
		jobs := worker(t, store, "e1.n1", 2)
		results, errs := together(jobs, 50)
		if errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		id := results[0].Runs[0].Id
		for n := range packAcks + 2 {
			res, err := jobs[0].freeze(0).Finish(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			jobs[0].resolve()
			if packed := len(packsOf(res)) > 0; len(res.Runs) != 1 || res.Runs[0].Id != id || packed != (n+1 < packAcks) {
				t.Fatalf("after %d more acks: %v", n+1, res.Runs)
			}
			if res.Runs[0].FirstAck != 1 {
				t.Fatal("the run was first acked with the first checkpoint")
			}
			results[0] = res
		}
		if f := results[0].Runs[0].Files[0]; f.Name != "shared/"+id+"-0.sst" || f.Offset != 0 {
			t.Errorf("%v", f)
		}
		jobs[0].id = 1
		jobs[0].check(results[0], 50)
	})
}

// TestLargeFilesAreNotPacked: nor is what one subtask has beyond its part.
func TestLargeFilesAreNotPacked(t *testing.T) {
	var entries []*entry
	add := func(size int64) {
		e := &entry{run: run.Run{Files: []run.File{{Size: size}}}, places: make([]place, 1)}
		entries = append(entries, e)
	}
	add(packedSize)
	add(packedSize + 1)
	for range handoverSize/packedSize + 3 {
		add(packedSize)
	}
	entries[2].places[0].object = "shared/x"
	entries[3].stored = true
	got := small(entries)
	if len(got) != handoverSize/packedSize || got[0].e != entries[0] || got[1].e != entries[4] {
		t.Errorf("%d files", len(got))
	}
}
