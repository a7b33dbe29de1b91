package windowing

import (
	"math"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/window"
)

// Partial is what the records of one key and slice have come to in one subtask.
type Partial[K, A any] struct {
	Key K
	End int64 // of the slice
	Acc A
}

// A PreAggregator's table and when it is switched off. The ratio is that of partials to
// records.
const (
	// leastSlots and mostSlots bound the index; half of it is used at most. 32,768 accumulators
	// of 40 bytes are 1.3 MB: about what a core's second-level cache holds.
	leastSlots = 1 << 10
	mostSlots  = 1 << 16
	// mostBytes is how much keys that are no words may take, encoded: a few keys of 10 MiB are
	// as much as the table may be.
	mostBytes = 8 << 20
	// lookAfter is how many records are looked at before the ratio is judged.
	lookAfter = 1 << 14
	// worstRatio, in percent, is where the table costs more than a record that is handed over
	// (about 15 against 50 ns): it is switched off.
	worstRatio = 60
	// restFor is how many records pass until it is tried again; it doubles, up to mostRest.
	restFor  = 1 << 18
	mostRest = 1 << 24
)

// PreAggregator folds records before the shuffle; see the package. It is an
// operator.Receiver, Flusher, WatermarkListener and WatermarkResumer.
type PreAggregator[K comparable, T, A any] struct {
	rt   *operator.Runtime
	op   int32
	plan Plan
	grid window.Grid
	agg  Aggregate[T, A]
	key  func(T) K
	hash func(K) (hash uint64, bytes int)
	out  *operator.Collector[Partial[K, A]]

	watermark int64 // that consumers were told
	slice     window.Span
	early     int64 // the first window of the slice ends so
	inside    bool

	index []uint32 // number in held + 1; 0: free
	held  []holding[K, A]
	bytes int // of held keys

	records, partials int // since the ratio was judged
	resting           int // records until the table is used again; 0: it is
	rest              int
}

type holding[K, A any] struct {
	hash uint64
	p    Partial[K, A]
}

// NewPreAggregator returns one for p, which must be p.Sliced. op is its number in the chain;
// hash is that of a key, with the memory that it takes if that differs from key to key.
func NewPreAggregator[K comparable, T, A any](rt *operator.Runtime, op int32, p Plan, agg Aggregate[T, A],
	key func(T) K, hash func(K) (hash uint64, bytes int), out *operator.Collector[Partial[K, A]],
) *PreAggregator[K, T, A] {
	return &PreAggregator[K, T, A]{
		rt: rt, op: op, plan: p, grid: p.Assigner.Grid(), agg: agg, key: key, hash: hash, out: out,
		watermark: math.MinInt64, index: make([]uint32, leastSlots), held: make([]holding[K, A], 0, leastSlots/2), rest: restFor,
	}
}

// ResumeWatermark implements operator.WatermarkResumer: consumers may be as far as at.
func (o *PreAggregator[K, T, A]) ResumeWatermark(at int64) { o.watermark = at }

// OnWatermark implements operator.WatermarkListener: consumers may be as far as at.
func (o *PreAggregator[K, T, A]) OnWatermark(at int64) error {
	o.watermark = max(o.watermark, at)
	return nil
}

// Receive implements operator.Receiver.
func (o *PreAggregator[K, T, A]) Receive(v T) {
	rt := o.rt
	rt.Operator = o.op
	at := rt.Time
	if at == operator.NoTime {
		rt.Fail(noTime(o.plan.Assigner))
		return
	}
	if !o.slice.Contains(at) {
		o.slice = o.grid.Slice(window.Clamp(at))
		o.early = o.grid.FirstEnd(o.slice.End) - 1
		_, o.inside = o.grid.LastEnd(o.slice.End)
	}
	if !o.inside {
		return
	}
	key := o.key(v)
	if o.early <= o.watermark || o.resting > 0 { // it may be late, or the table does not pay
		o.resting = max(0, o.resting-1)
		o.out.Emit(Partial[K, A]{key, o.slice.End, o.agg.First(v)})
		return
	}
	o.records++
	hash, bytes := o.hash(key)
	mask := uint64(len(o.index) - 1)
	i := (hash ^ uint64(o.slice.End)*0x9E3779B97F4A7C15>>20) & mask
	for ; o.index[i] != 0; i = (i + 1) & mask {
		if h := &o.held[o.index[i]-1]; h.hash == hash && h.p.End == o.slice.End && h.p.Key == key {
			h.p.Acc = o.agg.Add(h.p.Acc, v)
			return
		}
	}
	o.held = append(o.held, holding[K, A]{hash, Partial[K, A]{key, o.slice.End, o.agg.First(v)}})
	o.index[i] = uint32(len(o.held))
	if o.bytes += bytes; len(o.held) >= len(o.index)/2 || o.bytes > mostBytes {
		o.full()
	}
}

// full makes room: a larger index, or none is left in it.
func (o *PreAggregator[K, T, A]) full() {
	if len(o.index) < mostSlots && o.bytes <= mostBytes {
		o.index = make([]uint32, 2*len(o.index))
		mask := uint64(len(o.index) - 1)
		for n := range o.held {
			h := &o.held[n]
			i := (h.hash ^ uint64(h.p.End)*0x9E3779B97F4A7C15>>20) & mask
			for o.index[i] != 0 {
				i = (i + 1) & mask
			}
			o.index[i] = uint32(n + 1)
		}
		return
	}
	o.rt.Fail(o.Flush())
}

// Flush implements operator.Flusher.
func (o *PreAggregator[K, T, A]) Flush() error {
	if len(o.held) == 0 {
		return nil
	}
	rt := o.rt
	was := rt.Time
	for i := range o.held {
		rt.Time = o.held[i].p.End - 1
		o.out.Emit(o.held[i].p)
	}
	rt.Time, rt.Operator = was, o.op
	o.partials += len(o.held)
	clear(o.held)
	clear(o.index)
	o.held, o.bytes = o.held[:0], 0
	o.judge()
	return nil
}

// judge switches the table off where it does not pay.
func (o *PreAggregator[K, T, A]) judge() {
	if o.records < lookAfter {
		return
	}
	if o.partials*100 > o.records*worstRatio {
		o.resting, o.rest = o.rest, min(2*o.rest, mostRest)
	} else {
		o.rest = restFor
	}
	o.records, o.partials = 0, 0
}
