package nexmark

import (
	"math"
	"testing"
)

// TestShape: proportions, ids, times and hot ones are as the constants say.
func TestShape(t *testing.T) {
	const n = 100_000
	c := Default()
	in := read(c, n)
	if len(in.people) != n/50 || len(in.auctions) != 3*n/50 || len(in.bids) != 46*n/50 {
		t.Errorf("%d people, %d auctions, %d bids", len(in.people), len(in.auctions), len(in.bids))
	}
	people, auctions := map[uint64]bool{}, map[uint64]bool{}
	for _, p := range in.people {
		people[p.ID] = true
	}
	var length int64
	for _, a := range in.auctions {
		auctions[a.ID] = true
		length += a.Expires - a.At
	}
	for i := range uint64(n / 50) {
		if !people[1000+i] {
			t.Fatalf("there is no person %d", 1000+i)
		}
	}
	for i := range uint64(3 * n / 50) {
		if !auctions[1000+i] {
			t.Fatalf("there is no auction %d", 1000+i)
		}
	}
	// 100 auctions take 100·50/3 events: 167 ms. That is how long one is open on average.
	if mean := float64(length) / float64(len(in.auctions)); math.Abs(mean-167) > 5 {
		t.Errorf("auctions are open for %g ms on average, want 167", mean)
	}
	hotAuctions, hotBidders, bytes, logs := 0, 0, 0, 0.0
	for _, b := range in.bids {
		if b.Auction%100 == 0 {
			hotAuctions++
		}
		if (b.Bidder-1000)%100 == 1 {
			hotBidders++
		}
		bytes += 32 + len(b.Extra)
		logs += math.Log10(float64(b.Price))
	}
	of := float64(len(in.bids))
	for _, x := range []struct {
		what              string
		got, want, within float64
	}{
		{"bids for hot auctions", float64(hotAuctions) / of, 0.5, 0.02}, // and 1 of 100 of the others
		{"bids by hot bidders", float64(hotBidders) / of, 0.75, 0.02},
		{"bytes of a bid", float64(bytes) / of, 100, 1},
		{"logarithm of a price", logs / of, 5, 0.02}, // 2 … 8, evenly
	} {
		if math.Abs(x.got-x.want) > x.within {
			t.Errorf("%s: %g, want %g", x.what, x.got, x.want)
		}
	}
}

// TestOrder: an event is late by less than the bound, and some are late; without mixing none
// is.
func TestOrder(t *testing.T) {
	for _, group := range []uint64{1, 2, 7, 40, 100, 1000} {
		for _, rate := range []uint64{77, 1000, 10_000, 1_000_000} {
			c := Default()
			c.OutOfOrder, c.Rate = group, rate
			if err := c.Check(); err != nil {
				t.Fatal(err)
			}
			latest, back := int64(math.MinInt64), int64(0)
			seen := map[uint64]bool{}
			for i := range uint64(5000) {
				at := c.Event(i).At()
				latest = max(latest, at)
				back = max(back, latest-at)
				seen[i-i%group+i%group*shuffle%group] = true
			}
			if bound := c.Bound().Milliseconds(); back > bound || back == 0 && group >= 40 && rate <= 10_000 || back > 0 && group == 1 {
				t.Errorf("groups of %d at %d/s: events are late by up to %d ms, the bound is %d ms", group, rate, back, bound)
			}
			if len(seen) != 5000 {
				t.Errorf("groups of %d: %d of 5000 events", group, len(seen))
			}
		}
	}
}

// TestEvents holds some: a change of the generator changes every checksum there is.
func TestEvents(t *testing.T) {
	c := Default()
	var all uint64
	for i := range uint64(100_000) {
		all += c.Event(i).Checksum()
	}
	const want = 0xfcf9d92a4ac53c35
	if all != want {
		t.Errorf("the events' checksum is %#016x, want %#016x", all, uint64(want))
	}
	if c.Event(1<<62).At() <= c.Event(1<<40).At() {
		t.Error("time goes back")
	}
}

func TestCheck(t *testing.T) {
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"no rate":           func(c *Config) { c.Rate = 0 },
		"no group":          func(c *Config) { c.OutOfOrder = 0 },
		"a group not mixed": func(c *Config) { c.OutOfOrder = 2 * shuffle },
		"too many people":   func(c *Config) { c.ActivePeople = 1 << 40 },
	} {
		c := Default()
		if change(&c); c.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBidsDoNotAllocate(t *testing.T) {
	c := Default()
	c.OutOfOrder = 1
	if n := testing.AllocsPerRun(100, func() {
		for i := range uint64(46) {
			if !c.Event(50 + 4 + i).IsBid() {
				t.Fatal("no bid")
			}
		}
	}); n != 0 {
		t.Errorf("%g allocations for 46 bids", n)
	}
}

func BenchmarkEvent(b *testing.B) {
	c := Default()
	i := uint64(0)
	for b.Loop() {
		c.Event(i)
		i++
	}
}
