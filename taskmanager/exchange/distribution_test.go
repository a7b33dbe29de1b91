package exchange

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/stream"
)

// drain takes everything that is queued, in order: records as "v", events as "kind".
func (c *consumer[T]) drain() (got []T, events []stream.Event) {
	c.got = func(v T) { got = append(got, v) }
	for {
		it, ok := c.Poll()
		if !ok {
			return got, events
		}
		if it.Batch == nil {
			events = append(events, it.Event)
			continue
		}
		c.Run(it.Batch, 0)
		c.Release(it)
	}
}

// TestDistributions places 0..n-1 emitted by subtask 1 of 3.
func TestDistributions(t *testing.T) {
	intEdge := func() *Edge[int] {
		return &Edge[int]{
			Codec:  codecOf[int](t),
			Hash:   func(v int) uint64 { return uint64(v) << 60 }, // 16 values a turn
			Target: func(v int) int { return v % 3 },
		}
	}
	for _, c := range []struct {
		d    distribution
		n    int
		want string
	}{
		{forward, 4, "[] [0 1 2 3] []"},
		{hash, 16, "[0 1 2 3 4 5] [6 7 8 9 10] [11 12 13 14 15]"},
		{rebalance, 6, "[2 5] [0 3] [1 4]"}, // flushed after each record
		{broadcast, 2, "[0 1] [0 1] [0 1]"},
		{direct, 7, "[0 3 6] [1 4] [2 5]"},
	} {
		for to, p := range map[string]placement{
			"local": alone(3, 3), "remote": {alone(3, 0).from, []string{"b", "b", "b"}},
		} {
			t.Run(c.d.String()+"/"+to, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if got := place(t, graphOf(3, 3, c.d), p, intEdge(), c.n, 1); got != c.want {
						t.Errorf("got %s, want %s", got, c.want)
					}
				})
			})
		}
	}
}

func place(t *testing.T, g *jobGraph, p placement, e *Edge[int], n, from int) string {
	s := fabrics(t, g, p, wire{memory: &memnet.Network{}})
	consumers := make([]*consumer[int], 3)
	for i := range consumers {
		consumers[i] = newConsumer(t, s[p.to[i]].Fabric, i, e, nil)
	}
	out := newProducer(t, s["a"].Fabric, from, e)
	synctest.Wait() // all credit has come
	for v := range n {
		out.Receive(v)
		out.Flush()
	}
	out.Broadcast(endOfInput)
	var text string
	for i, c := range consumers {
		var got []int
		c.got = func(v int) { got = append(got, v) }
		_, channel := c.ChannelInput(0)
		if g.Edges[0].Distribution != forward || channel.Index == from {
			for c.next().Event.Kind != stream.EndOfInputEvent {
			}
		}
		if i > 0 {
			text += " "
		}
		text += fmt.Sprint(got)
	}
	return text
}

// TestDirectOutOfRange: a record that names no subtask fails the attempt.
func TestDirectOutOfRange(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t), Target: func(v int) int { return v }}
	s := fabrics(t, graphOf(1, 2, direct), alone(1, 2), wire{})
	out := newProducer(t, s["a"].Fabric, 0, e)
	out.Receive(2)
	if _, err := out.rt.Err(); err == nil || !out.rt.Attention.Load() {
		t.Fatalf("record for subtask 2 of 2: error %v, attention %v", err, out.rt.Attention.Load())
	}
}

// TestRebalanceSkipsFull: a consumer that takes nothing gets no more than its room,
// the other gets the rest, and the producer goes on.
func TestRebalanceSkipsFull(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	s := fabrics(t, graphOf(1, 2, rebalance), alone(1, 2), wire{})
	out := newProducer(t, s["a"].Fabric, 0, e)
	stuck := newConsumer(t, s["a"].Fabric, 0, e, nil)
	quick := newConsumer(t, s["a"].Fabric, 1, e, nil)
	taken := 0
	const records = 100 * stream.MaxBatch
	for v := range records {
		if !out.Room() {
			t.Fatalf("no room at record %d, though one consumer takes everything", v)
		}
		out.Receive(v)
		got, _ := quick.drain()
		taken += len(got)
	}
	held, _ := stuck.drain()
	if len(held) != maxBatches*stream.MaxBatch || taken+len(held) != records {
		t.Errorf("the stuck consumer has %d records, the quick one %d; want %d and the rest of %d",
			len(held), taken, maxBatches*stream.MaxBatch, records)
	}
}

// TestBroadcastCopies: no two consumers share a slice (D3).
func TestBroadcastCopies(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	s := fabrics(t, graphOf(1, 2, broadcast), alone(1, 2), wire{})
	out := newProducer(t, s["a"].Fabric, 0, e)
	a, b := newConsumer(t, s["a"].Fabric, 0, e, nil), newConsumer(t, s["a"].Fabric, 1, e, nil)
	for v := range 3 {
		out.Receive(v)
	}
	out.Flush()
	first, _ := a.Poll()
	values := first.Batch.(*stream.Batch[int]).Values
	for i := range values {
		values[i] = -1
	}
	if got, _ := b.drain(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("the second consumer reads %v after the first spoiled its batch", got)
	}
}

func TestFlushInterval(t *testing.T) {
	for channels, want := range map[int]time.Duration{
		1: time.Millisecond, 16: time.Millisecond, 31: time.Millisecond, 32: 2 * time.Millisecond,
		160: 10 * time.Millisecond, 320: 20 * time.Millisecond, 10_000: 20 * time.Millisecond,
	} {
		if got := flushInterval(channels); got != want {
			t.Errorf("flush interval of %d channels is %v, want %v", channels, got, want)
		}
	}
}

// TestFlushDue: records wait one interval from the first look, for each channel.
func TestFlushDue(t *testing.T) {
	for _, d := range []distribution{hash, rebalance, broadcast, forward} {
		t.Run(d.String(), func(t *testing.T) {
			e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) << 63 }}
			s := fabrics(t, graphOf(2, 2, d), alone(2, 2), wire{})
			out := newProducer(t, s["a"].Fabric, 0, e)
			c := newConsumer(t, s["a"].Fabric, 0, e, nil)
			now := time.Unix(1_000_000, 0)
			step := func(after time.Duration, want time.Duration, records int) {
				t.Helper()
				now = now.Add(after)
				if next := out.FlushDue(now); next != want {
					t.Errorf("due in %v, want %v", next, want)
				}
				if got, _ := c.drain(); len(got) != records {
					t.Errorf("%d records came, want %d", len(got), records)
				}
			}
			step(0, 0, 0)
			out.Receive(0)
			step(0, time.Millisecond, 0)
			step(400*time.Microsecond, 600*time.Microsecond, 0)
			out.Receive(2)
			step(600*time.Microsecond, 0, 2)
			step(time.Second, 0, 0)
		})
	}
}

// TestFlushDueAfterFull: a batch that was handed over because it was full takes its
// wait with it.
func TestFlushDueAfterFull(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	out := newProducer(t, fabrics(t, graphOf(1, 1, forward), alone(1, 1), wire{})["a"].Fabric, 0, e)
	now := time.Unix(1_000_000, 0)
	out.Receive(0)
	out.FlushDue(now)
	for v := range stream.MaxBatch {
		out.Receive(v) // the first batch, and one record of the next
	}
	if next := out.FlushDue(now.Add(900 * time.Microsecond)); next != time.Millisecond {
		t.Errorf("the new batch is due in %v, want 1ms", next)
	}
}

// TestWeights: a batch of wide records is handed over at 32 KiB, so a channel's
// room is bounded in bytes too.
func TestWeights(t *testing.T) {
	type line struct {
		N    int
		Text string
		Raw  []byte
		More []uint32
	}
	e := &Edge[line]{Codec: codecOf[line](t)}
	s := fabrics(t, graphOf(1, 1, forward), alone(1, 1), wire{})
	out := newProducer(t, s["a"].Fabric, 0, e)
	c := newConsumer(t, s["a"].Fabric, 0, e, nil)
	text := make([]byte, 6<<10)
	var sizes []int
	for range 8 {
		out.Receive(line{Text: string(text), Raw: text[:1<<10], More: make([]uint32, 256)})
		for it, ok := c.Poll(); ok; it, ok = c.Poll() {
			sizes = append(sizes, c.Len(it.Batch))
			c.Release(it)
		}
	}
	if !slices.Equal(sizes, []int{4, 4}) {
		t.Errorf("batches of 8 KiB records have %v records, want 4 each", sizes)
	}
	for _, c := range []struct{ got, want int }{
		{(&sender[uint64]{}).capacityFor(1 << 20), stream.MaxBatch},
		{(&sender[struct{}]{}).capacityFor(1 << 20), stream.MaxBatch},
		{(&sender[[1 << 10]byte]{}).capacityFor(1 << 20), 32},
		{(&sender[[1 << 20]byte]{}).capacityFor(1 << 20), minBatch},
		{(&sender[uint64]{}).capacityFor(4 << 10), 256}, // two batches fit
		{(&sender[uint64]{}).capacityFor(0), minBatch},
	} {
		if c.got != c.want {
			t.Errorf("a batch has %d records, want %d", c.got, c.want)
		}
	}
}
