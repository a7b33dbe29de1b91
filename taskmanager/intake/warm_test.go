package intake

import (
	"slices"
	"testing"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// warmed is a keyed receiver that notes what it was warmed for, and stops at a value.
type warmed struct {
	rt     *operator.Runtime
	warm   []uint64
	got    []uint64
	stopAt uint64
}

func (w *warmed) Warm(hashes, _ []uint64) { w.warm = append(w.warm, hashes...) }

func (w *warmed) ReceiveKeyed(hash, v uint64) {
	w.got = append(w.got, hash)
	if v == w.stopAt {
		w.rt.Attention.Store(true)
	}
}

// TestConsumerWarmsAhead: every record is warmed before it comes, also after a stop
// in the middle and with event times.
func TestConsumerWarmsAhead(t *testing.T) {
	for _, timed := range []bool{false, true} {
		rt := &operator.Runtime{}
		w := &warmed{rt: rt, stopAt: 40}
		consumer, err := New[uint64](rt, w, true)
		if err != nil {
			t.Fatal(err)
		}
		b := &stream.Batch[uint64]{}
		for i := range uint64(100) {
			b.Values, b.Hashes = append(b.Values, i), append(b.Hashes, i+1000)
			if timed {
				b.Times = append(b.Times, int64(i))
			}
		}
		if next := consumer.Run(b, 0); next != 41 {
			t.Fatalf("timed=%v: stopped before record %d, want 41", timed, next)
		}
		if n := len(w.warm); n != 2*warmAhead {
			t.Errorf("timed=%v: %d records warmed when 41 were taken, want %d", timed, n, 2*warmAhead)
		}
		rt.Attention.Store(false)
		w.warm = nil
		if next := consumer.Run(b, 41); next != 100 {
			t.Fatalf("timed=%v: stopped before record %d, want 100", timed, next)
		}
		if !slices.Equal(w.warm, b.Hashes[41:]) || !slices.Equal(w.got, b.Hashes) {
			t.Errorf("timed=%v: warmed %v, got %v", timed, w.warm, w.got)
		}
	}
}
