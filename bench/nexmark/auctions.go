package nexmark

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/window"
)

// Winner is a result of q9: an auction that was closed, and the bid that it went to.
type Winner struct {
	Auction Auction
	Bid     Bid
}

// Checksum is that of all fields.
func (w Winner) Checksum() uint64 {
	return uint64(sum(8).number(w.Auction.Checksum()).number(w.Bid.Checksum()))
}

// better says which of two bids wins: the higher one, then the earlier, then that of the
// person who was there first.
func better(a, b Bid) bool {
	return cmp.Or(cmp.Compare(b.Price, a.Price), cmp.Compare(a.At, b.At), cmp.Compare(a.Bidder, b.Bidder)) < 0
}

// Q9 says which bid wins each auction: the best of those that reach the reserve while it is
// open, from At on and before Expires, as in Beam. An auction without one has no result.
// A result has the time at which the auction expires.
func Q9(events *weir.Stream[Event]) *weir.Stream[Winner] {
	return winners(Auctions(events), Bids(events))
}

func winners(auctions *weir.Stream[Auction], bids *weir.Stream[Bid]) *weir.Stream[Winner] {
	return auctions.KeyBy(func(a Auction) uint64 { return a.ID }).
		Connect("winners", bids.KeyBy(func(b Bid) uint64 { return b.Auction }), newAuctioneer)
}

// auctioneer holds an auction. Most bids are not the best: they are compared with terms,
// which is small, and all else is read once.
type auctioneer struct {
	terms   *weir.Value[terms]
	auction *weir.Value[Auction]
	best    *weir.Value[Bid]
	early   *weir.List[Bid] // bids whose auction has not come; it still may
}

// terms are what a bid must keep to: those of an open auction, and the best bid so far.
type terms struct {
	From, Until   int64
	Reserve       uint64
	Price, Bidder uint64 // 0: there is no bid yet
	At            int64
}

func newAuctioneer(s *weir.Setup) *auctioneer {
	return &auctioneer{
		s.Value[terms]("terms"), s.Value[Auction]("auction"), s.Value[Bid]("best"), s.List[Bid]("early"),
	}
}

// ProcessLeft opens the auction. It implements weir.CoProcessor.
func (h *auctioneer) ProcessLeft(c *weir.Ctx[uint64], a Auction, _ *weir.Collector[Winner]) error {
	t := terms{From: a.At, Until: a.Expires, Reserve: a.Reserve}
	h.auction.Set(a)
	for b := range h.early.All() {
		h.bid(&t, b)
	}
	h.early.Clear()
	h.terms.Set(t)
	c.TimerAtMillis(a.Expires)
	return nil
}

// bid takes b for the best, if it is.
func (h *auctioneer) bid(t *terms, b Bid) (taken bool) {
	if b.At < t.From || b.At >= t.Until || b.Price < t.Reserve {
		return false
	}
	if !better(b, Bid{Price: t.Price, At: t.At, Bidder: t.Bidder}) {
		return false
	}
	t.Price, t.At, t.Bidder = b.Price, b.At, b.Bidder
	h.best.Set(b)
	return true
}

// ProcessRight takes a bid. It implements weir.CoProcessor. One whose auction is not there
// waits until no auction that it could be for can come any more: they begin before it.
func (h *auctioneer) ProcessRight(c *weir.Ctx[uint64], b Bid, _ *weir.Collector[Winner]) error {
	t, open := h.terms.Get()
	switch {
	case open:
		if h.bid(&t, b) {
			h.terms.Set(t)
		}
	case b.At > c.WatermarkMillis():
		if h.early.Len() == 0 {
			c.TimerAtMillis(b.At)
		}
		h.early.Append(b)
	}
	return nil
}

// OnTimer closes the auction, or gives up bids that wait for none.
func (h *auctioneer) OnTimer(c *weir.Ctx[uint64], out *weir.Collector[Winner]) error {
	now := c.Millis()
	t, open := h.terms.Get()
	if !open {
		var wait []Bid
		next := int64(math.MaxInt64)
		for b := range h.early.All() {
			if b.At > now {
				wait, next = append(wait, b), min(next, b.At)
			}
		}
		if h.early.Replace(wait); len(wait) > 0 {
			c.TimerAtMillis(next)
		}
		return nil
	}
	if now < t.Until {
		return nil
	}
	if b, ok := h.best.Get(); ok {
		a, _ := h.auction.Get()
		out.Emit(Winner{a, b})
	}
	h.terms.Clear()
	h.auction.Clear()
	h.best.Clear()
	return nil
}

// slim are the events without what q4 and q6 don't look at, so that it need not travel.
func slim(events *weir.Stream[Event]) (*weir.Stream[Auction], *weir.Stream[Bid]) {
	auctions := Auctions(events).Map("slim-auctions", func(a Auction) Auction {
		a.Item, a.Description, a.Extra = "", "", ""
		return a
	})
	bids := Bids(events).Map("slim-bids", func(b Bid) Bid {
		b.Extra = ""
		return b
	})
	return auctions, bids
}

// CategoryPrice is a result of q4.
type CategoryPrice struct {
	Category, Price uint64 // cents, rounded down
	End             int64  // of the window
}

// Checksum is that of all fields.
func (p CategoryPrice) Checksum() uint64 {
	return uint64(sum(9).number(p.Category).number(p.Price).number(uint64(p.End)))
}

// mean is what it takes to say one.
type mean struct{ Sum, Count uint64 }

func (m mean) add(w Winner) mean     { return mean{m.Sum + w.Bid.Price, m.Count + 1} }
func (m mean) merge(o mean) mean     { return mean{m.Sum + o.Sum, m.Count + o.Count} }
func noMean() mean                   { return mean{} }
func categoryOf(w Winner) uint64     { return w.Auction.Category }
func sellerOf(w Winner) uint64       { return w.Auction.Seller }
func (m mean) price() (cents uint64) { return m.Sum / max(m.Count, 1) }

// Q4 says what auctions of each category went for on average, of those that were closed in
// the last 10 s, every 5 s, as in Beam. (nexmark/nexmark's says it of all, and again with
// each one that is closed, so its results depend on the order.)
func Q4(events *weir.Stream[Event]) *weir.Stream[CategoryPrice] {
	return winners(slim(events)).
		KeyBy(categoryOf).
		Window(window.Sliding(10*time.Second, 5*time.Second)).
		Aggregate("averages", noMean, mean.add, mean.merge,
			func(category uint64, w window.Span, m mean) CategoryPrice {
				return CategoryPrice{category, m.price(), w.End}
			})
}

// SellerPrice is a result of q6.
type SellerPrice struct {
	Seller, Price uint64 // cents, rounded down
	Auction       uint64 // the last one
}

// Checksum is that of all fields.
func (p SellerPrice) Checksum() uint64 {
	return uint64(sum(10).number(p.Seller).number(p.Price).number(p.Auction))
}

// lastSales is of how many sales q6 takes the average.
const lastSales = 10

// Q6 says what the last 10 auctions of each seller went for on average, with each one that
// is closed; of those that are closed at one time, that with the lower id is first.
func Q6(events *weir.Stream[Event]) *weir.Stream[SellerPrice] {
	return winners(slim(events)).KeyBy(sellerOf).Process("averages", newSeller)
}

// sale is an auction that was closed.
type sale struct {
	At             int64
	Auction, Price uint64
}

// seller puts the sales of one into the order of their times, which they don't come in:
// other auctions are held in other subtasks.
type seller struct {
	waiting *weir.List[sale]
	last    *weir.List[uint64] // prices, the newest last
}

func newSeller(s *weir.Setup) *seller {
	return &seller{s.List[sale]("waiting"), s.List[uint64]("last")}
}

// Process implements weir.Processor.
func (s *seller) Process(c *weir.Ctx[uint64], w Winner, _ *weir.Collector[SellerPrice]) error {
	s.waiting.Append(sale{c.Millis(), w.Auction.ID, w.Bid.Price})
	c.TimerAtMillis(c.Millis())
	return nil
}

// OnTimer takes the sales of a time in, when all that there are have come.
func (s *seller) OnTimer(c *weir.Ctx[uint64], out *weir.Collector[SellerPrice]) error {
	var due, later []sale
	for x := range s.waiting.All() {
		if x.At <= c.Millis() {
			due = append(due, x)
		} else {
			later = append(later, x)
		}
	}
	s.waiting.Replace(later)
	slices.SortFunc(due, func(a, b sale) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Auction, b.Auction)) })
	last := slices.Collect(s.last.All())
	for _, x := range due {
		if last = append(last, x.Price); len(last) > lastSales {
			last = last[1:]
		}
		var m mean
		for _, price := range last {
			m = m.merge(mean{price, 1})
		}
		out.Emit(SellerPrice{c.Key(), m.price(), x.Auction})
	}
	s.last.Replace(last)
	return nil
}
