package exchange

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/memnet"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

// overtaking is a barrier that may.
func overtaking(id int, timeout time.Duration) stream.Event {
	e := barrier(id)
	e.Barrier.Unaligned, e.Barrier.AlignmentTimeout = timeout == 0, timeout
	return e
}

// decoded is what was captured of each channel: producer i emits what is i modulo 2.
func decoded(t *testing.T, e *Edge[int], all []Captured) map[int][]int {
	t.Helper()
	got := map[int][]int{}
	for _, c := range all {
		state := written(t, c)
		for _, v := range recordsOf(t, e, state.Pieces) {
			got[v&1] = append(got[v&1], v)
		}
		if n := len(state.Pieces); n != c.Size {
			t.Errorf("%d bytes, counted %d", n, c.Size)
		}
		if n := len(got[0]) + len(got[1]); int(state.Records) != n || c.Input != 0 {
			t.Errorf("captured %d records of input %d, counted %d", n, c.Input, state.Records)
		}
	}
	return got
}

// written is what a checkpoint lists of c, inline.
func written(t *testing.T, c Captured) *metapb.ChannelState {
	t.Helper()
	w, err := inflight.Create(t.Context(), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	state := &metapb.ChannelState{RecordSchema: c.Schema, FromUid: "from"}
	if _, err := w.Part(state, func() error { return c.Write(t.Context(), w) }); err != nil {
		t.Fatal(err)
	}
	c.Release()
	return state
}

// recordsOf is what pieces of e hold.
func recordsOf[T any](t *testing.T, e *Edge[T], pieces []byte) (all []T) {
	t.Helper()
	for len(pieces) > 0 {
		p, rest, err := inflight.Cut(pieces)
		if err != nil {
			t.Fatal(err)
		}
		f := frameOfPiece(p)
		b, err := e.decodePiece(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.release()
		all = append(all, b.(*stream.Batch[T]).Values...)
		pieces = rest
	}
	return all
}

// held is what a checkpoint has kept inline.
func held(pieces, schema []byte, groups stream.KeyGroupRange) Held {
	sum := sha256.Sum256(pieces)
	return Held{Groups: groups, Source: inflight.Source{State: &metapb.ChannelState{
		FromUid: "from", Pieces: pieces, RecordSchema: schema, Size: uint64(len(pieces)), Digest: sum[:],
	}}}
}

// takeRestored runs what c has restored, and returns the error that ends it.
func takeRestored[T any](c *consumer[T]) error {
	for {
		synctest.Wait() // for what is read ahead
		it, ok := c.Poll()
		switch {
		case !ok:
			return nil
		case it.Err != nil:
			return it.Err
		case it.Channel != Restored:
			return fmt.Errorf("got %+v", it)
		}
		c.Run(it.Batch, 0)
		c.Release(it)
	}
}

// TestOvertake: a barrier behind more records than there is room for is heard of, at
// once if it comes unaligned, else when its producer is told that it has waited for
// long enough; and what it overtakes is captured, from the middle of the batch being
// read on.
func TestOvertake(t *testing.T) {
	for name, p := range places(1) {
		for _, timeout := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprint(name, timeout), func(t *testing.T) {
				bubble(t, graphOf(2, 1, hash), p, 1, func(t *testing.T, s map[string]*site) {
					overtake(t, p, s, timeout)
				})
			})
		}
	}
}

func overtake(t *testing.T, p placement, s map[string]*site, timeout time.Duration) {
	e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) }}
	var taken []int
	c := newConsumer(t, s[p.to[0]].Fabric, 0, e, func(v int) { taken = append(taken, v) })
	calls := 0
	c.Attend(func() { calls++ })
	var sent [2][]int
	var out [2]*producer[int]
	for i := range out {
		out[i] = newProducer(t, s[p.from[i]].Fabric, i, e)
		synctest.Wait()
		for v := 0; out[i].Room() || len(sent[i]) < 6_000; v++ { // the last call overdraws
			out[i].Receive(2*v + i)
			sent[i] = append(sent[i], 2*v+i)
		}
	}
	synctest.Wait()
	it, ok := c.Poll() // the batch being read
	if !ok || it.Batch == nil {
		t.Fatalf("nothing to read: %+v", it)
	}
	const read = 7
	reading := it.Channel
	first := slices.Clone(it.Batch.(*stream.Batch[int]).Values[:read])

	out[0].Broadcast(overtaking(1, timeout))
	synctest.Wait()
	if out[0].Held() {
		if timeout == 0 {
			t.Error("an unaligned barrier is held")
		}
		out[0].Expedite(2) // another
		if len(c.News()) > 0 {
			t.Error("an aligned barrier overtakes")
		}
		out[0].Expedite(1)
		synctest.Wait()
	}
	news := c.News()
	if len(news) != 1 || news[0].Channel != 0 || news[0].Barrier.ID != 1 || calls != 1 {
		t.Fatalf("news %v after %d calls, want the barrier of channel 0", news, calls)
	}
	c.BeginCapture(1, it, read)
	if !c.Capture(0) || c.Capture(1) {
		t.Fatal("the barrier of channel 0 is there, that of channel 1 is not")
	}
	if !c.Capturing(1) || c.Capturing(0) {
		t.Error("channel 1 alone is to be captured on")
	}
	c.Run(it.Batch, 0)
	c.Release(it)
	for range 3 { // what Poll delivers meanwhile is captured already, or by Poll
		c.next()
	}
	out[1].Broadcast(overtaking(1, 0))
	synctest.Wait()
	if news = c.News(); len(news) != 1 || !c.Capture(1) {
		t.Fatalf("news %v, want the barrier of channel 1", news)
	}
	for i := range out { // behind the barriers
		for v := range 600 {
			out[i].Receive(-v)
		}
		out[i].Flush()
	}
	got := decoded(t, e, c.EndCapture())
	got[reading] = append(first, got[reading]...)
	for i := range out {
		if !slices.Equal(got[i], sent[i]) {
			t.Errorf("channel %d: %d records captured, want the %d before the barrier", i, len(got[i]), len(sent[i]))
		}
	}
	n := len(taken)
	for progress := true; progress; {
		more, _ := c.drain()
		n += len(more)
		progress = len(more) > 0
		synctest.Wait() // for credit, and what it lets come
	}
	if want := len(sent[0]) + len(sent[1]) + 1200; n != want {
		t.Errorf("%d records were taken, want %d: what is captured is taken all the same", n, want)
	}
	if !out[0].Room() || !out[1].Room() {
		t.Error("no room although everything was taken")
	}
}

// TestNotOvertaken: edges that must not be overtaken announce nothing: broadcast ones,
// those from subtask to subtask (forward; direct, which an enumerator's splits take), and
// any kind that is not known to allow it.
func TestNotOvertaken(t *testing.T) {
	may := map[metapb.Distribution]bool{hash: true, rebalance: true}
	for d := range metapb.Distribution_name {
		if d := metapb.Distribution(d); overtakes(job.Edge{Distribution: d}) != may[d] {
			t.Errorf("barriers overtake on %v edges: %v, want %v", d, !may[d], may[d])
		}
	}
	for _, d := range []metapb.Distribution{broadcast, forward, direct} {
		for name, p := range places(1) {
			t.Run(fmt.Sprint(d, name), func(t *testing.T) {
				bubble(t, graphOf(2, 1, d), p, 1, func(t *testing.T, s map[string]*site) {
					e := &Edge[int]{Codec: codecOf[int](t)}
					if d == direct {
						e.Target = func(int) int { return 0 }
					}
					c := newConsumer(t, s[p.to[0]].Fabric, 0, e, func(int) {})
					out := newProducer(t, s[p.from[0]].Fabric, 0, e)
					synctest.Wait()
					for v := range 5_000 {
						out.Receive(v)
					}
					out.Broadcast(overtaking(1, 0))
					out.Expedite(1)
					synctest.Wait()
					if news := c.News(); len(news) > 0 || c.Overtakes()[0] {
						t.Errorf("a %v edge is overtaken: %v", d, news)
					}
					barriers := 0
					for taken := 0; taken < 5_000; synctest.Wait() {
						it, ok := c.Poll()
						switch {
						case !ok:
							continue
						case it.Batch == nil:
							barriers++
							continue
						}
						taken += c.Run(it.Batch, 0)
						c.Release(it)
					}
					if barriers > 0 {
						t.Error("a barrier came before records that were emitted before it")
					}
				})
			})
		}
	}
}

// TestRestoreKeepsOwnKeys: of a channel's records a gate takes those of its key groups,
// and they come before everything else; a key that has changed is refused.
func TestRestoreKeepsOwnKeys(t *testing.T) {
	p := alone(1, 2)
	bubble(t, graphOf(1, 2, hash), p, 0, func(t *testing.T, s map[string]*site) {
		e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) << 48 }}
		b := e.newBatch(4)
		for v := range 1500 {
			b.Values, b.Hashes = append(b.Values, v*40), append(b.Hashes, e.Hash(v*40))
		}
		var pieces []byte
		for at := 0; at < len(b.Values); at += 500 {
			one := &stream.Batch[int]{Values: b.Values[at : at+500], Hashes: b.Hashes[at : at+500]}
			pieces = appendPieces(pieces, e, one)
		}
		var all []int
		for i := range 2 {
			c := newConsumer(t, s[p.to[i]].Fabric, i, e, func(v int) { all = append(all, v) })
			if err := c.Restore(t.Context(), []Held{held(pieces, nil, stream.RangeOf(i, 2))}); err != nil {
				t.Fatal(err)
			}
			if err := takeRestored(c); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(all, b.Values) { // ranges ascend, and so do the groups
			t.Errorf("%d records are taken, want %d, in order", len(all), len(b.Values))
		}
		incarnation := job.Incarnation(1)
		restoreOf := func(e *Edge[int], h Held) error {
			incarnation++
			f, err := s["a"].network.NewFabric(FabricOptions{Incarnation: incarnation, Graph: graphOf(1, 2, hash), Worker: "a", Locations: s["a"].locations})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c := newConsumer(t, f, 0, e, func(int) {})
			if err := c.Restore(t.Context(), []Held{h}); err != nil {
				t.Fatal(err)
			}
			return takeRestored(c)
		}
		changed := &Edge[int]{Codec: e.Codec, Hash: func(v int) uint64 { return uint64(v+1) << 48 }}
		if err := restoreOf(changed, held(pieces, nil, stream.AllKeyGroups)); !operator.IsFatal(err) || !strings.Contains(err.Error(), "another key now") {
			t.Errorf("changed key: %v", err)
		}
		for at := range inflight.HeaderBytes + 3 {
			bad := slices.Clone(pieces)
			bad[at] ^= 1
			if err := restoreOf(e, held(bad, nil, stream.AllKeyGroups)); !errors.Is(err, statebackend.ErrCorrupt) {
				t.Errorf("byte %d changed: %v", at, err)
			}
			if err := restoreOf(e, held(pieces[:at+1], nil, stream.AllKeyGroups)); !errors.Is(err, statebackend.ErrCorrupt) {
				t.Errorf("%d bytes: %v", at+1, err)
			}
		}
	})
}

// TestRestoreBringsRecordsUpToDate: what was in flight when an older program ran has the
// type of the present one.
func TestRestoreBringsRecordsUpToDate(t *testing.T) {
	type old struct{ N int32 }
	type now struct {
		Note string
		N    int64
	}
	p := alone(1, 1)
	bubble(t, graphOf(1, 1, hash), p, 0, func(t *testing.T, s map[string]*site) {
		from := &Edge[old]{Codec: codecOf[old](t), Hash: func(v old) uint64 { return uint64(v.N) }}
		b := &stream.Batch[old]{Values: []old{{-1}, {2}}, Hashes: []uint64{from.Hash(old{-1}), 2}}
		pieces := appendPieces(nil, from, b)
		to := &Edge[now]{Codec: codecOf[now](t), Hash: func(v now) uint64 { return from.Hash(old{int32(v.N)}) }}
		var got []now
		incarnation := job.Incarnation(1)
		restoreOf := func(h Held) error {
			incarnation++
			f, err := s["a"].network.NewFabric(FabricOptions{Incarnation: incarnation, Graph: graphOf(1, 1, hash), Worker: "a", Locations: s["a"].locations})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c := newConsumer(t, f, 0, to, func(v now) { got = append(got, v) })
			if err := c.Restore(t.Context(), []Held{h}); err != nil {
				return err
			}
			return takeRestored(c)
		}
		if err := restoreOf(held(pieces, from.Codec.Schema(), stream.AllKeyGroups)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, []now{{"", -1}, {"", 2}}) {
			t.Errorf("got %v", got)
		}
		if err := restoreOf(held(pieces, codecOf[string](t).Schema(), stream.AllKeyGroups)); !errors.Is(err, statebackend.ErrSchema) {
			t.Errorf("another type: %v", err)
		}
		for cut := range len(pieces) - inflight.HeaderBytes { // a payload that is too short for its records
			bad := inflight.Append(nil, pieces[5], 2, pieces[inflight.HeaderBytes:inflight.HeaderBytes+cut])
			if err := restoreOf(held(bad, from.Codec.Schema(), stream.AllKeyGroups)); !errors.Is(err, statebackend.ErrCorrupt) {
				t.Errorf("%d bytes: %v", cut, err)
			}
		}
	})
}

// TestCaptureOfRestored: a checkpoint taken while records of the one before are still in
// flight keeps them, once each, in their order: what is left of the batch being read, what
// has not been read yet, and what has come behind it. Of a source that is shared with other
// subtasks it copies its own.
func TestCaptureOfRestored(t *testing.T) {
	p := alone(1, 2)
	bubble(t, graphOf(1, 2, hash), p, 0, func(t *testing.T, s map[string]*site) {
		e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) << 48 }}
		const batches = 400 // some blocks of the reader
		groups := stream.RangeOf(1, 2)
		var pieces []byte
		var want []int
		for i := range batches {
			b := e.newBatch(500)
			for k := range 500 {
				v := (i*500 + k) * 7919 % (1 << 16)
				if b.Values, b.Hashes = append(b.Values, v), append(b.Hashes, e.Hash(v)); groups.Contains(stream.GroupOf(e.Hash(v))) {
					want = append(want, v)
				}
			}
			pieces = appendPieces(pieces, e, b)
		}
		var taken []int
		c := newConsumer(t, s[p.to[1]].Fabric, 1, e, func(v int) { taken = append(taken, v) })
		if err := c.Restore(t.Context(), []Held{held(pieces, nil, groups)}); err != nil {
			t.Fatal(err)
		}
		out := newProducer(t, s[p.from[0]].Fabric, 0, e)
		for v := range 1000 {
			if n := 1<<15 + v; groups.Contains(stream.GroupOf(e.Hash(n))) {
				out.Receive(n)
				want = append(want, n)
			}
		}
		out.Broadcast(overtaking(1, 0))
		for range batches / 2 {
			synctest.Wait()
			it, ok := c.Poll()
			if !ok || it.Channel != Restored {
				t.Fatalf("got %+v", it)
			}
			c.Run(it.Batch, 0)
			c.Release(it)
		}
		synctest.Wait()
		it, ok := c.Poll()
		if !ok || it.Channel != Restored {
			t.Fatalf("got %+v", it)
		}
		const read = 3
		taken = append(taken, it.Batch.(*stream.Batch[int]).Values[:read]...)
		before := len(taken)
		c.BeginCapture(1, it, read)
		if !c.Capture(0) {
			t.Fatal("the barrier is not there")
		}
		c.Run(it.Batch, read)
		c.Release(it)
		all := c.EndCapture()
		synctest.Wait()
		got := slices.Clone(taken[:before])
		for _, k := range all {
			state := written(t, k)
			values := recordsOf(t, e, state.Pieces)
			if int(state.Records) != len(values) {
				t.Errorf("%d records, counted %d", len(values), state.Records)
			}
			got = append(got, values...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d records were taken or captured, want %d, in their order", len(got), len(want))
		}
		if len(all) != 3 {
			t.Errorf("captured in %d parts, want 3", len(all))
		}
		if err := takeRestored(c); err == nil || !strings.Contains(err.Error(), "got") { // then the channel's own
			t.Errorf("behind what was restored: %v", err)
		}
		if n := len(taken); !slices.Equal(taken, want[:n]) {
			t.Error("what is captured is not taken all the same")
		}
	})
}

// TestCopyWithoutHashes: the edge has keys now and had none when the records were captured.
// Which are whose only user code can say, so a copy has all of them; a restore of it takes
// those of the key groups of the subtask that made it, and each record is taken once.
func TestCopyWithoutHashes(t *testing.T) {
	p := alone(1, 2)
	bubble(t, graphOf(1, 2, hash), p, 0, func(t *testing.T, s map[string]*site) {
		plain := &Edge[int]{Codec: codecOf[int](t)}
		e := &Edge[int]{Codec: codecOf[int](t), Hash: func(v int) uint64 { return uint64(v) << 48 }}
		b := plain.newBatch(4)
		for v := range 500 {
			b.Values = append(b.Values, v*131)
		}
		first := appendPieces(nil, plain, b)
		var copies []*metapb.ChannelState
		for i := range 2 {
			c := newConsumer(t, s[p.to[i]].Fabric, i, e, func(int) {})
			if err := c.Restore(t.Context(), []Held{held(first, nil, stream.RangeOf(i, 2))}); err != nil {
				t.Fatal(err)
			}
			c.BeginCapture(1, Item{}, 0)
			all := c.EndCapture()
			if len(all) != 1 {
				t.Fatalf("%d parts are captured", len(all))
			}
			copies = append(copies, written(t, all[0]))
		}
		f, err := s["a"].network.NewFabric(FabricOptions{Incarnation: 2, Graph: graphOf(1, 2, hash), Worker: "a", Locations: s["a"].locations})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var got []int
		c := newConsumer(t, f, 0, e, func(v int) { got = append(got, v) }) // one subtask for both now
		var again []Held
		for i, state := range copies {
			again = append(again, held(state.Pieces, nil, stream.RangeOf(i, 2)))
		}
		if err := c.Restore(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if err := takeRestored(c); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, b.Values) {
			t.Errorf("%d records are taken, want %d, each once", len(got), len(b.Values))
		}
	})
}

// FuzzPieces: no bytes make a restore panic, and what it takes it can write again.
func FuzzPieces(f *testing.F) {
	e := mixedEdge(f)
	b := &stream.Batch[mixed]{Values: []mixed{{1, "a"}, {2, "bc"}}, Hashes: []uint64{1, 2}, Times: []int64{3, 4}}
	good := appendPieces(nil, e, b)
	f.Add(good)
	f.Add(inflight.Append(good, 0, 1, []byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, in []byte) {
		for len(in) > 0 {
			p, rest, err := inflight.Cut(in)
			if err != nil {
				return
			}
			in = rest
			if b, err := e.decodePiece(frameOfPiece(p), nil); err == nil && b.(*stream.Batch[mixed]).Len() != p.Records() {
				t.Errorf("%d of %d records", b.(*stream.Batch[mixed]).Len(), p.Records())
			}
		}
	})
}

// TestOtherRegions: subtasks that nobody here talks to need no location.
func TestOtherRegions(t *testing.T) {
	n, l := newNetwork(t, "a", wire{memory: &memnet.Network{}})
	g := graphOf(1, 1, hash)
	g.Vertices = append(g.Vertices, job.Vertex{ID: 2, Operators: []int{0}, Parallelism: 1})
	o := FabricOptions{Incarnation: 1, Graph: g, Worker: "a", Locations: map[job.SubtaskID]Location{{Vertex: 0}: l, {Vertex: 1}: l}}
	f, err := n.NewFabric(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	delete(o.Locations, job.SubtaskID{Vertex: 1})
	o.Incarnation = 2
	if _, err := n.NewFabric(o); err == nil || !strings.Contains(err.Error(), "v1[0] has no location") {
		t.Errorf("a partner without location: %v", err)
	}
}
