package task

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/stream"
)

// failures are what subtasks failed with.
func (r *reports) failures() (all []*weirpb.SubtaskStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.statuses {
		if s.State == weirpb.SubtaskStatus_STATE_FAILED {
			all = append(all, s)
		}
	}
	return all
}

// State that outgrows its memory is as large after a restart: the job fails at once,
// and the message says what and how large it is, and what to do.
func TestBudgetIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &feed{}
		r, _ := countRig(t, func(r *rig) int { return r.source("src", 1, f) }, 1, manyKeys, 0)
		r.make = func(c BackendConfig) (Backend, error) {
			c.Table.Budget = 64 << 10
			return heap.New(heap.Options{Table: c.Table, Runs: runlist.Options{
				Dir: t.TempDir(), Store: r.store, Attempt: c.Attempt.String(), Operator: c.UID,
			}})
		}
		r.deploy(0, nil)
		f.round()
		synctest.Wait()
		r.stop()
		all := r.reports.failures()
		if len(all) != 1 || !all[0].Fatal {
			t.Fatalf("failures %v, want a fatal one", all)
		}
		for _, want := range []string{`operator "count"`, `state "count"`, "65536 bytes", "taskmanager.memory.process.size", "pebble"} {
			if !strings.Contains(all[0].Failure, want) {
				t.Errorf("%q does not say %s", all[0].Failure, want)
			}
		}
	})
}

// Only what handles a record, a timer or the end of a key names a key.
func TestKeyOfFailure(t *testing.T) {
	for _, hook := range []string{"open", "prepare", "commit", "record"} {
		synctest.Test(t, func(t *testing.T) {
			f := &feed{}
			r := newRig(t)
			src := r.source("src", 1, f)
			info := operator.KeyInfoOf(intKey)
			op := r.add("keyed", transformKind, 1, func(l *Linker) error {
				s := l.Setup(info)
				c := &badKeyed{counter: *newCounter(s, 10, 0), fail: hook == "record"}
				c.cur, c.rt, c.out = operator.NewKeyCursor(s, intKey, false), l.Runtime(), Out[int](l)
				InKeyed(l, operator.KeyedReceiver[int](c))
				l.Lifecycle(&failing{hook})
				return nil
			})
			s := operator.PlanSetup("keyed", info)
			newCounter(s, 10, 0)
			r.declare(op, s)
			r.from(op, src, hash, keyedEdge(t, func(v int) int { return v % 10 }))
			r.sink("sink", op, forward, 1, nil, &events{})
			r.deploy(0, nil)
			f.put(0, 7)
			synctest.Wait()
			r.inject(1, stream.CheckpointBarrier)
			r.completed(1, false)
			r.stop()
			all := r.reports.failures()
			if len(all) != 1 || strings.Contains(all[0].Failure, "key 7") != (hook == "record") || strings.Contains(all[0].Failure, "at key") != (hook == "record") {
				t.Errorf("%s: %v", hook, all)
			}
		})
	}
}

type badKeyed struct {
	counter
	fail bool
}

func (b *badKeyed) ReceiveKeyed(hash uint64, v int) {
	b.counter.ReceiveKeyed(hash, v)
	if b.fail {
		b.rt.Fail(errors.New("bad record"))
	}
}

// An input that is gone, or may not be read, is gone after a restart too.
func TestInputIsGone(t *testing.T) {
	for cause, fatal := range map[error]bool{fs.ErrNotExist: true, fs.ErrPermission: true, errors.New("timeout"): false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			src := r.add("src", sourceKind, 1, func(l *Linker) error { return FromReader[int](l, goneSource{cause}) })
			s := operator.PlanSetup("src", operator.KeyInfo{})
			s.Splits()
			r.declare(src, s)
			r.sink("sink", src, forward, 1, nil, &events{})
			r.deploy(0, nil)
			r.stop()
			all := r.reports.failures()
			if len(all) != 1 || all[0].Fatal != fatal || !strings.Contains(all[0].Failure, "in/a.txt") {
				t.Errorf("%v: %v", cause, all)
			}
		})
	}
}

type goneSource struct{ err error }

func (s goneSource) NewReader(*operator.SourceContext) (operator.Reader[int], error) {
	return &goneReader{err: s.err}, nil
}

func (s goneSource) NewEnumerator(*operator.SourceContext) (operator.Enumerator, error) {
	return nil, nil
}

type goneReader struct {
	splitReader
	err error
}

func (r *goneReader) Poll(*stream.Batch[int]) (operator.Polled, error) {
	return operator.Polled{}, fmt.Errorf("read file in/a.txt: %w", r.err)
}

// A hidden operator is called by what users know: its source.
func TestFailureOfAnEnumerator(t *testing.T) {
	for uid, want := range map[string]string{
		"lines#splits": `enumerator of "lines": no such folder`,
		"lines":        `operator "lines", subtask 0 of 1: no such folder`,
	} {
		f := &Failure{UID: uid, Parallelism: 1, Err: errors.New("no such folder")}
		if f.Error() != want {
			t.Errorf("%s: %s", uid, f)
		}
	}
}
