package exchange

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

// places are the ways in which two producers and one consumer may be placed.
func places(consumers int) map[string]placement {
	p := alone(2, consumers)
	return map[string]placement{
		"local":  p,
		"remote": {p.from, on("b", consumers)},
		"mixed":  {[]string{"a", "b"}, on("b", consumers)},
	}
}

func on(worker string, subtasks int) []string {
	return slices.Repeat([]string{worker}, subtasks)
}

// bubble runs f in a synctest bubble with workers that are connected in memory.
func bubble(t *testing.T, g *jobGraph, p placement, budget int64, f func(t *testing.T, s map[string]*site)) {
	synctest.Test(t, func(t *testing.T) {
		s := fabrics(t, g, p, wire{memory: &memnet.Network{}, budget: budget})
		f(t, s)
	})
}

// TestBarriersInOrder: of each channel, exactly the records emitted before a barrier
// come before it.
func TestBarriersInOrder(t *testing.T) {
	const barriers, between = 20, 700
	for name, p := range places(1) {
		t.Run(name, func(t *testing.T) {
			bubble(t, graphOf(2, 1, forwardless), p, 0, func(t *testing.T, s map[string]*site) {
				e := &Edge[int]{Codec: codecOf[int](t)}
				for i := range 2 {
					out := newProducer(t, s[p.from[i]].Fabric, i, e)
					go func() {
						for b := range barriers {
							for v := range between {
								out.emit(b*between + v)
							}
							out.Broadcast(barrier(b + 1))
						}
						out.Broadcast(endOfInput)
					}()
				}
				records := make([]int, 2)
				var channel int
				c := newConsumer(t, s[p.to[0]].Fabric, 0, e, nil)
				c.got = func(v int) {
					if v != records[channel] {
						t.Fatalf("channel %d: record %d, want %d", channel, v, records[channel])
					}
					records[channel]++
				}
				for open := 2; open > 0; {
					it, ok := c.Poll()
					if !ok {
						<-c.wake
						continue
					}
					channel = it.Channel
					switch it.Event.Kind {
					case stream.BarrierEvent:
						if want := int(it.Event.Barrier.ID) * between; records[channel] != want {
							t.Fatalf("channel %d: barrier %d after %d records, want %d", channel, it.Event.Barrier.ID, records[channel], want)
						}
					case stream.EndOfInputEvent:
						open--
					default:
						c.Run(it.Batch, 0)
						c.Release(it)
					}
				}
				if !slices.Equal(records, []int{barriers * between, barriers * between}) {
					t.Errorf("%v records came, want %d each", records, barriers*between)
				}
			})
		})
	}
}

// forwardless is the distribution of edges whose placement does not matter here.
const forwardless = rebalance

// TestBlockedChannelStarvesNobody is B1: the first producer's barrier has come, its
// channel is blocked and filled until there is no room. The second one's data and
// barrier must come through all the same, under the smallest budget too.
func TestBlockedChannelStarvesNobody(t *testing.T) {
	for name, p := range places(1) {
		for _, budget := range []int64{1, 0} {
			t.Run(name, func(t *testing.T) {
				bubble(t, graphOf(2, 1, forwardless), p, budget, func(t *testing.T, s map[string]*site) {
					blockedChannel(t, p, s)
				})
			})
		}
	}
}

func blockedChannel(t *testing.T, p placement, s map[string]*site) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	c := newConsumer(t, s[p.to[0]].Fabric, 0, e, nil)
	first := newProducer(t, s[p.from[0]].Fabric, 0, e)
	second := newProducer(t, s[p.from[1]].Fabric, 1, e)
	synctest.Wait()
	first.Broadcast(barrier(1))
	if it := c.next(); it.Channel != 0 || it.Event.Kind != stream.BarrierEvent {
		t.Fatalf("got %+v, want the barrier of channel 0", it)
	}
	c.Block(0)
	filled := 0
	for ; first.Room(); filled++ {
		first.Receive(filled)
	}
	if !first.rt.Attention.Load() {
		t.Error("the output is full and the loop was not told")
	}
	synctest.Wait()

	// The sibling gets many times the room of a channel through.
	const records = 100_000
	go func() {
		for v := range records {
			second.emit(v)
		}
		second.Broadcast(barrier(1))
	}()
	n := 0
	c.got = func(int) { n++ }
	for {
		it := c.next()
		if it.Channel != 1 {
			t.Fatalf("channel %d delivers, but is blocked", it.Channel)
		}
		if it.Event.Kind == stream.BarrierEvent {
			break
		}
	}
	if n != records {
		t.Errorf("%d records before the sibling's barrier, want %d", n, records)
	}
	// Aligned: the blocked channel goes on, its producer is woken.
	c.Unblock(0)
	n = 0
	got, _ := c.drain()
	synctest.Wait()
	if again, _ := c.drain(); len(got)+len(again) > filled || !first.Room() {
		t.Errorf("%d of %d records after the alignment, room %v", len(got)+len(again), filled, first.Room())
	}
	select {
	case <-first.wake:
	default:
		t.Error("the blocked producer was not woken")
	}
}

// TestOverdraw: what one call emits beyond the room is kept, in order, and counted.
func TestOverdraw(t *testing.T) {
	for name, p := range places(1) {
		t.Run(name, func(t *testing.T) {
			bubble(t, graphOf(2, 1, forwardless), p, 0, func(t *testing.T, s map[string]*site) {
				e := &Edge[int]{Codec: codecOf[int](t)}
				out := newProducer(t, s[p.from[0]].Fabric, 0, e)
				const records = 300_000
				for v := range records {
					out.Receive(v)
				}
				out.Broadcast(endOfInput)
				if out.Room() || out.Stats().Overdrawn == 0 {
					t.Errorf("room %v and %+v after an overdraft", out.Room(), out.Stats())
				}
				c := newConsumer(t, s[p.to[0]].Fabric, 0, e, nil)
				next := 0
				c.got = func(v int) {
					if v != next {
						t.Fatalf("record %d, want %d", v, next)
					}
					next++
				}
				for c.next().Event.Kind != stream.EndOfInputEvent {
				}
				synctest.Wait()
				if next != records || !out.Room() {
					t.Errorf("%d records of %d came; room %v", next, records, out.Room())
				}
			})
		})
	}
}

// TestWideRecord: a record wider than a frame, wider than the whole budget too.
func TestWideRecord(t *testing.T) {
	for name, p := range places(1) {
		t.Run(name, func(t *testing.T) {
			bubble(t, graphOf(2, 1, forwardless), p, 1, func(t *testing.T, s map[string]*site) {
				e := &Edge[string]{Codec: codecOf[string](t)}
				out := newProducer(t, s[p.from[0]].Fabric, 0, e)
				want := []string{"a", strings.Repeat("b", 3<<20), "c", strings.Repeat("d", 40<<10), "e"}
				go func() {
					for range 10 {
						for _, v := range want {
							out.emit(v)
						}
					}
					out.Broadcast(endOfInput)
				}()
				c := newConsumer(t, s[p.to[0]].Fabric, 0, e, nil)
				n := 0
				c.got = func(v string) {
					if v != want[n%len(want)] {
						t.Fatalf("record %d has %d bytes, want %d", n, len(v), len(want[n%len(want)]))
					}
					n++
				}
				for c.next().Event.Kind != stream.EndOfInputEvent {
				}
				if n != 10*len(want) {
					t.Errorf("%d records came, want %d", n, 10*len(want))
				}
			})
		})
	}
}

// TestTooWideRecord: a record beyond the limit fails the attempt, saying so.
func TestTooWideRecord(t *testing.T) {
	e := &Edge[string]{Codec: codecOf[string](t)}
	p := placement{[]string{"a"}, []string{"b"}}
	s := fabrics(t, graphOf(1, 1, forwardless), p, wire{memory: &memnet.Network{}})
	out := newProducer(t, s["a"].Fabric, 0, e)
	out.Receive(strings.Repeat("x", maxRecordBytes+1))
	out.Flush()
	if _, err := out.rt.Err(); err == nil || !strings.Contains(err.Error(), "67108864") {
		t.Errorf("error of a record that is too wide: %v", err)
	}
}

// TestWakes counts wake-ups: one for each time Poll found nothing, none while there
// is something; one for each time the output lost and regained its room.
func TestWakes(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t)}
	f := fabrics(t, graphOf(1, 1, forward), alone(1, 1), wire{})["a"].Fabric
	rt := &operator.Runtime{}
	producerWoken, consumerWoken := 0, 0
	out, err := f.Output(job.SubtaskID{}, 0, e, rt, func() { producerWoken++ })
	if err != nil {
		t.Fatal(err)
	}
	g, err := f.Gate(job.SubtaskID{Vertex: 1}, []AnyEdge{e}, func() { consumerWoken++ })
	if err != nil {
		t.Fatal(err)
	}
	receive := out.(operator.Receiver[int]).Receive
	for round := 1; round <= 3; round++ {
		if _, ok := g.Poll(); ok {
			t.Fatal("an empty gate delivers")
		}
		rt.Attention.Store(false)
		for out.Room() {
			receive(0)
		}
		if consumerWoken != round || !rt.Attention.Load() || producerWoken != round-1 {
			t.Errorf("round %d: consumer woken %d times, producer %d, attention %v",
				round, consumerWoken, producerWoken, rt.Attention.Load())
		}
		for it, ok := g.Poll(); ok; it, ok = g.Poll() {
			g.Release(it)
		}
		if producerWoken != round || !out.Room() {
			t.Errorf("round %d: after all was consumed the producer was woken %d times, room %v", round, producerWoken, out.Room())
		}
	}
}

// TestWakesOfManyLanes: a hash output is woken when its last full lane has room, a
// rebalanced one when its first has.
func TestWakesOfManyLanes(t *testing.T) {
	for d, want := range map[distribution][]bool{hash: {false, true}, rebalance: {true, false}} {
		t.Run(d.String(), func(t *testing.T) {
			e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) << 63 }}
			f := fabrics(t, graphOf(1, 2, d), alone(1, 2), wire{})["a"].Fabric
			out := newProducer(t, f, 0, e)
			for v := range 3 * maxBatches * stream.MaxBatch {
				out.Receive(v)
			}
			out.Flush()
			if out.Room() {
				t.Fatal("there is room beyond all room")
			}
			for i := range 2 {
				newConsumer(t, f, i, e, nil).drain()
				if woken := len(out.wake) == 1; woken != want[i] {
					t.Errorf("after consumer %d took everything: woken %v, want %v", i, woken, want[i])
				}
				select {
				case <-out.wake:
				default:
				}
			}
			if !out.Room() {
				t.Error("no room though everything was taken")
			}
		})
	}
}

// TestFlushWakesAtOnce: nobody waits for a batch to fill once it was flushed.
func TestFlushWakesAtOnce(t *testing.T) {
	for name, p := range places(1) {
		t.Run(name, func(t *testing.T) {
			bubble(t, graphOf(2, 1, forwardless), p, 0, func(t *testing.T, s map[string]*site) {
				e := &Edge[int]{Codec: codecOf[int](t)}
				c := newConsumer(t, s[p.to[0]].Fabric, 0, e, func(int) {})
				out := newProducer(t, s[p.from[0]].Fabric, 0, e)
				synctest.Wait()
				began := time.Now()
				for range 100 {
					out.Receive(1)
					out.Flush()
					c.next()
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("100 flushed records took %v of the bubble's time", took)
				}
			})
		})
	}
}

// TestBarrierAge: the time that a barrier waits in queues is part of its age.
func TestBarrierAge(t *testing.T) {
	for name, p := range places(1) {
		t.Run(name, func(t *testing.T) {
			bubble(t, graphOf(2, 1, forwardless), p, 0, func(t *testing.T, s map[string]*site) {
				e := &Edge[int]{Codec: codecOf[int](t)}
				out := newProducer(t, s[p.from[0]].Fabric, 0, e)
				for v := range 100_000 {
					out.Receive(v) // beyond all room: the barrier waits behind it
				}
				b := barrier(1)
				b.Barrier.Age = time.Second
				out.Broadcast(b)
				<-time.After(2 * time.Second) // of the bubble's clock
				synctest.Wait()
				c := newConsumer(t, s[p.to[0]].Fabric, 0, e, func(int) {})
				for {
					it := c.next()
					if it.Event.Kind != stream.BarrierEvent {
						continue
					}
					if it.Event.Barrier.Age != 3*time.Second {
						t.Errorf("the barrier's age is %v, want 3s", it.Event.Barrier.Age)
					}
					return
				}
			})
		})
	}
}

// TestHints: the latest hint of each reader reaches the enumerator once, also when
// it is given before the other end exists.
func TestHints(t *testing.T) {
	for _, to := range []string{"a", "b"} {
		p := placement{[]string{"a"}, []string{to, to}}
		t.Run(to, func(t *testing.T) {
			bubble(t, graphOf(1, 2, direct), p, 0, func(t *testing.T, s map[string]*site) {
				e := &Edge[int]{Codec: codecOf[int](t), Target: func(v int) int { return v }}
				a, b := newConsumer(t, s[to].Fabric, 0, e, nil), newConsumer(t, s[to].Fabric, 1, e, nil)
				a.Hint(5)
				a.Hint(1)
				synctest.Wait()
				out := newProducer(t, s["a"].Fabric, 0, e)
				expect := func(want ...Hint) {
					t.Helper()
					synctest.Wait()
					if got := out.Hints(); !slices.Equal(got, want) {
						t.Errorf("hints %v, want %v", got, want)
					}
				}
				expect(Hint{0, 1})
				expect()
				<-out.wake
				b.Hint(2)
				a.Hint(0)
				b.Hint(3)
				expect(Hint{0, 0}, Hint{1, 3})
				<-out.wake
			})
		})
	}
}

// TestRunStops: Run stops after the record during which attention was raised.
func TestRunStops(t *testing.T) {
	e := &Edge[int]{Codec: codecOf[int](t), HasTimes: true}
	rt := &operator.Runtime{}
	var got []int
	c, err := NewConsumer(e, rt, receiverFunc[int](func(v int) {
		got = append(got, v)
		if rt.Time != int64(10*v) {
			t.Errorf("record %d has time %d", v, rt.Time)
		}
		rt.Attention.Store(v == 1)
	}))
	if err != nil {
		t.Fatal(err)
	}
	b := &stream.Batch[int]{Values: []int{0, 1, 2}, Times: []int64{0, 10, 20}}
	if n := c.Run(b, 0); n != 2 {
		t.Errorf("stopped before record %d, want 2", n)
	}
	if n := c.Run(b, 2); n != 3 || !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("ended before record %d with %v", n, got)
	}
}

type receiverFunc[T any] func(T)

func (f receiverFunc[T]) Receive(v T) { f(v) }

// TestRecycling: a batch that was released comes back to the producer, and whoever
// kept its slice sees garbage under race (D3).
func TestRecycling(t *testing.T) {
	e := pairEdge(t)
	f := fabrics(t, graphOf(1, 1, hash), alone(1, 1), wire{})["a"].Fabric
	out := newProducer(t, f, 0, e)
	c := newConsumer(t, f, 0, e, nil)
	out.Receive(pair{1, 2})
	out.Flush()
	it, _ := c.Poll()
	b := it.Batch.(*stream.Batch[pair])
	kept := b.Values
	c.Release(it)
	if invariants.Enabled && (kept[0] == pair{1, 2}) {
		t.Error("a kept slice still has its records after release")
	}
	out.Receive(pair{3, 4})
	out.Flush() // takes the free batch
	out.Receive(pair{5, 6})
	out.Flush()
	c.Poll()
	if again, _ := c.Poll(); again.Batch != any(b) || !slices.Equal(b.Values, []pair{{5, 6}}) {
		t.Errorf("the used batch did not come back: %p, want %p", again.Batch, b)
	}

	words := &Edge[string]{}
	w := words.newBatch(4)
	w.Values = append(w.Values, "a")
	words.reset(w)
	if w.Values[:1][0] != "" {
		t.Error("a used batch keeps a string alive")
	}
}

// TestNoAllocation: a record and its hand-over allocate nothing once batches go round.
func TestNoAllocation(t *testing.T) {
	if invariants.Enabled {
		t.Skip("the race detector allocates")
	}
	e := pairEdge(t)
	f := fabrics(t, graphOf(1, 2, hash), alone(1, 2), wire{})["a"].Fabric
	out := newProducer(t, f, 0, e)
	consumers := []*consumer[pair]{
		newConsumer(t, f, 0, e, func(pair) {}), newConsumer(t, f, 1, e, func(pair) {}),
	}
	round := func() {
		for k := range uint64(4000) {
			out.Receive(pair{Key: k})
		}
		for _, c := range consumers {
			for it, ok := c.Poll(); ok; it, ok = c.Poll() {
				c.Run(it.Batch, 0)
				c.Release(it)
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(20, round); n > 0 {
		t.Errorf("4000 records cost %v allocations", n)
	}
}
