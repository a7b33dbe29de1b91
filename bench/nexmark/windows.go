package nexmark

import (
	"math"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/window"
)

func auctionOf(b Bid) uint64         { return b.Auction }
func bidderOf(b Bid) uint64          { return b.Bidder }
func zero() uint64                   { return 0 }
func oneMore(n uint64, _ Bid) uint64 { return n + 1 }
func both(a, b uint64) uint64        { return a + b }

// HotItem is a result of q5: an auction that no other had more bids than in a window.
type HotItem struct {
	Auction, Bids uint64
	End           int64 // of the window
}

// Checksum is that of all fields.
func (h HotItem) Checksum() uint64 {
	return uint64(sum(11).number(h.Auction).number(h.Bids).number(uint64(h.End)))
}

// Q5 says which auctions had the most bids in the last 10 s, every 2 s, as nexmark/nexmark's
// (Beam's: every 5 s). All that have as many are results.
func Q5(events *weir.Stream[Event]) *weir.Stream[HotItem] {
	const size, slide = 10 * time.Second, 2 * time.Second
	return Bids(events).
		KeyBy(auctionOf).
		Window(window.Sliding(size, slide)).
		Aggregate("count", zero, oneMore, both,
			func(auction uint64, w window.Span, n uint64) HotItem { return HotItem{auction, n, w.End} }).
		KeyBy(func(h HotItem) int64 { return h.End }).
		Window(window.Tumbling(slide)). // a count has the last ms of its window: those of one end are together
		Aggregate("hottest", func() hottest { return hottest{} }, hottest.add, hottest.merge,
			func(_ int64, _ window.Span, h hottest) hottest { return h }).
		FlatMap("items", func(h hottest, out *weir.Collector[HotItem]) error {
			for _, auction := range h.Auctions {
				out.Emit(HotItem{auction, h.Bids, h.End})
			}
			return nil
		})
}

// hottest are the auctions with the most bids of a window.
type hottest struct {
	Bids     uint64
	End      int64
	Auctions []uint64
}

func (h hottest) add(x HotItem) hottest {
	return h.merge(hottest{x.Bids, x.End, []uint64{x.Auction}})
}

func (h hottest) merge(o hottest) hottest {
	switch {
	case o.Bids > h.Bids:
		return o
	case o.Bids == h.Bids:
		h.Auctions = append(h.Auctions, o.Auctions...)
	}
	return h
}

// Q7 says which bids were the highest, every 10 s. All that are as high are results.
func Q7(events *weir.Stream[Event]) *weir.Stream[Bid] {
	return Bids(events).
		WindowAll(window.Tumbling(10*time.Second)).
		Aggregate("highest", func() highest { return highest{} }, highest.add, highest.merge,
			func(_ window.Span, h highest) highest { return h }).
		FlatMap("bids-of", func(h highest, out *weir.Collector[Bid]) error {
			for _, b := range h.Bids {
				out.Emit(b)
			}
			return nil
		})
}

// highest are the bids with the highest price.
type highest struct {
	Price uint64
	Bids  []Bid
}

// add is merge with one bid, which most of the time is not high enough.
func (h highest) add(b Bid) highest {
	if b.Price < h.Price {
		return h
	}
	return h.merge(highest{b.Price, []Bid{b}})
}

func (h highest) merge(o highest) highest {
	switch {
	case o.Price > h.Price:
		return o
	case o.Price == h.Price:
		h.Bids = append(h.Bids, o.Bids...)
	}
	return h
}

// BidderWindow is a result of q11 and q12: how many bids somebody made in a while.
type BidderWindow struct {
	Bidder, Bids uint64
	Start, End   int64
}

// Checksum is that of all fields.
func (w BidderWindow) Checksum() uint64 {
	return uint64(sum(12).number(w.Bidder).number(w.Bids).number(uint64(w.Start)).number(uint64(w.End)))
}

// Q11 says how many bids somebody made without a pause of more than 10 s.
func Q11(events *weir.Stream[Event]) *weir.Stream[BidderWindow] {
	return Bids(events).
		KeyBy(bidderOf).
		Window(window.Session(10*time.Second)).
		Aggregate("sessions", zero, oneMore, both,
			func(bidder uint64, w window.Span, n uint64) BidderWindow {
				return BidderWindow{bidder, n, w.Start, w.End}
			})
}

// BidderCount is a result of q12.
type BidderCount struct {
	Bidder, Bids uint64
	Start        int64
}

// Checksum is the bidder's as often as the bids: how the wall clock has cut them up does
// not count.
func (c BidderCount) Checksum() uint64 { return uint64(sum(13).number(c.Bidder)) * c.Bids }

// Q12 says how many bids somebody made every 10 s by the wall clock. What is open at the end
// of the input is a result too, so that the counts add up.
func Q12(events *weir.Stream[Event]) *weir.Stream[BidderCount] {
	return Bids(events).
		KeyBy(bidderOf).
		Window(window.Tumbling(10*time.Second).ProcessingTime()).
		Trigger(window.By[Bid](orAtEnd{})).
		Aggregate("counts", zero, oneMore, both,
			func(bidder uint64, w window.Span, n uint64) BidderCount { return BidderCount{bidder, n, w.Start} })
}

// orAtEnd fires at the end of a window by the wall clock, or at the end of event time, which
// is that of the input.
type orAtEnd struct{}

// OnRecord implements window.Rule.
func (orAtEnd) OnRecord(c *window.Context, _ Bid) window.Result {
	c.Process, c.Event = c.Window.End, math.MaxInt64-1
	return window.Continue
}

// OnEventTime implements window.Rule.
func (orAtEnd) OnEventTime(*window.Context) window.Result { return window.Fire | window.Purge }

// OnProcessingTime implements window.Rule.
func (orAtEnd) OnProcessingTime(*window.Context) window.Result { return window.Fire | window.Purge }

// OnMerge implements window.Rule.
func (orAtEnd) OnMerge(*window.Context, window.State) window.Result { return window.Continue }
