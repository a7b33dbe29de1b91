package operations

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// TestAnyOrder: events in any order, late, twice and of operations that nobody knows. There
// is no illegal move, what has ended stays as it is, every request is answered once, and
// what was promised is not forgotten before its end.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := &walk{t: t, r: r, c: New("job j", 2, nil), asked: map[uint64]int{}, ended: map[string]*metapb.Operation{}}
		for range 80 {
			w.step(w.event())
		}
		for n, answers := range w.asked {
			if answers > 1 {
				t.Fatalf("seed %d: request %d is answered %d times", seed, n, answers)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// walk is a random one through the events.
type walk struct {
	t     *testing.T
	r     *rand.Rand
	c     *Core
	last  uint64
	asked map[uint64]int // answers, by request
	ended map[string]*metapb.Operation
}

func (w *walk) trigger() string { return fmt.Sprint("t", w.r.IntN(4)) }

func (w *walk) problem() error {
	if w.r.IntN(5) == 0 {
		return errors.New("refused")
	}
	return nil
}

func (w *walk) pointer() *metapb.CheckpointPointer {
	p := &metapb.CheckpointPointer{CheckpointId: uint64(1 + w.r.IntN(3)), Path: "/chk"}
	for n := range 4 {
		if w.r.IntN(2) == 0 {
			p.Pins = append(p.Pins, fmt.Sprint("t", n))
		}
	}
	return p
}

func (w *walk) event() Event {
	trigger := w.trigger()
	switch w.r.IntN(14) {
	case 0, 1, 2:
		w.last++
		w.asked[w.last] = 0
		return Requested{Operation: &metapb.Operation{TriggerId: trigger, Kind: metapb.Operation_Kind(1 + w.r.IntN(6))}, Request: w.last}
	case 3, 4:
		return Recorded{trigger, w.problem()}
	case 5:
		e := Loaded{}
		if w.r.IntN(2) == 0 {
			e.Pointers = append(e.Pointers, w.pointer())
		}
		return e
	case 6:
		return Taken{trigger, w.pointer()}
	case 7:
		return Refused{trigger, "no"}
	case 8:
		return Copied{Trigger: trigger, Bytes: 1, Problem: map[bool]string{true: "full"}[w.r.IntN(3) == 0]}
	case 9:
		return RescaleReady{w.r.IntN(3) == 0}
	case 10:
		if w.r.IntN(3) == 0 {
			return RescaleFailed{"NO_SLOTS", "none"}
		}
		return Rescaled{w.r.IntN(3) == 0}
	case 11:
		return Disposed{Trigger: trigger}
	case 12:
		if w.r.IntN(8) == 0 {
			return JobEnded{"FINISHED"}
		}
		return Disposed{Trigger: trigger, Failure: &Failure{Code: "X"}}
	}
	return EndRecorded{trigger, w.problem()}
}

func (w *walk) step(e Event) {
	for _, f := range w.c.Step(time.Unix(1, 0), e, nil) {
		switch f := f.(type) {
		case Answer:
			w.asked[f.Request]++
		case End:
			for _, id := range f.Forget {
				if v, known := w.c.Look(id); known && v.Phase != Ended {
					w.t.Errorf("%s is forgotten in phase %v", id, v.Phase)
				}
			}
		}
	}
	for id, rec := range w.ended {
		v, known := w.c.Look(id)
		if known && v.Phase == Ended && !proto.Equal(v.Record, rec) {
			w.t.Errorf("%s has changed since its end: %v, was %v", id, v.Record, rec)
		}
	}
	clear(w.ended)
	for _, o := range w.c.all() {
		if o.phase == Ended {
			w.ended[o.rec.TriggerId] = proto.CloneOf(o.rec)
		}
	}
}
