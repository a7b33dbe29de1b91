package exchange

import (
	"slices"
	"sync"
	"testing"

	"github.com/weirstream/weir/internal/memnet"
)

func alone(from, to int) placement {
	p := placement{}
	for range from {
		p.from = append(p.from, "a")
	}
	for range to {
		p.to = append(p.to, "a")
	}
	return p
}

// TestShuffle is order and completeness of every channel: each producer numbers its
// records, and each consumer sees ascending numbers of each producer, all of them.
func TestShuffle(t *testing.T) {
	split := placement{from: []string{"a", "b"}, to: []string{"b", "a", "b"}}
	for name, c := range map[string]struct {
		p placement
		w wire
	}{
		"local":  {alone(2, 3), wire{}},
		"memory": {split, wire{memory: &memnet.Network{}}},
		"unix":   {split, wire{}},
		"tcp":    {split, wire{tcp: true}},
		"tight":  {split, wire{budget: 1}},
		"many": {placement{
			slices.Repeat([]string{"a", "b", "c", "d"}, 8), slices.Repeat([]string{"d", "a", "b"}, 8),
		}, wire{budget: 1}},
	} {
		t.Run(name, func(t *testing.T) { shuffle(t, c.p, c.w, 400_000/len(c.p.from)) })
	}
}

func shuffle(t *testing.T, p placement, w wire, records int) {
	s := fabrics(t, graphOf(len(p.from), len(p.to), hash), p, w)
	e := pairEdge(t)
	var all sync.WaitGroup
	for i, name := range p.from {
		out := newProducer(t, s[name].Fabric, i, e)
		all.Go(func() {
			for n := range records {
				out.emit(pair{Key: uint64(n*len(p.from) + i), Value: int64(n)})
			}
			out.Broadcast(endOfInput)
		})
	}
	var mu sync.Mutex
	seen := map[uint64]int64{}
	for i, name := range p.to {
		last := make([]int64, len(p.from))
		for j := range last {
			last[j] = -1
		}
		mine := map[uint64]int64{}
		c := newConsumer(t, s[name].Fabric, i, e, nil)
		c.got = func(v pair) {
			from := v.Key % uint64(len(p.from))
			if v.Value <= last[from] {
				t.Errorf("consumer %d: record %d of producer %d after %d", i, v.Value, from, last[from])
			}
			last[from] = v.Value
			mine[v.Key]++
		}
		all.Go(func() {
			c.untilEnd()
			mu.Lock()
			defer mu.Unlock()
			for k, n := range mine {
				seen[k] += n
			}
		})
	}
	all.Wait()
	if len(seen) != len(p.from)*records {
		t.Fatalf("%d keys arrived, want %d", len(seen), len(p.from)*records)
	}
	for k, n := range seen {
		if n != 1 {
			t.Fatalf("key %d arrived %d times", k, n)
		}
	}
}
