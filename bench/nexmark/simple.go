package nexmark

import "github.com/weirstream/weir"

// auctionSkip is Beam's: q2 is interested in each 123rd auction.
const auctionSkip = 123

// People are the persons among the events.
func People(events *weir.Stream[Event]) *weir.Stream[Person] {
	return events.FlatMap("people", func(e Event, out *weir.Collector[Person]) error {
		if e.Person != nil {
			out.Emit(*e.Person)
		}
		return nil
	})
}

// Auctions are the auctions among the events.
func Auctions(events *weir.Stream[Event]) *weir.Stream[Auction] {
	return events.FlatMap("auctions", func(e Event, out *weir.Collector[Auction]) error {
		if e.Auction != nil {
			out.Emit(*e.Auction)
		}
		return nil
	})
}

// Bids are the bids among the events.
func Bids(events *weir.Stream[Event]) *weir.Stream[Bid] {
	return events.FlatMap("bids", func(e Event, out *weir.Collector[Bid]) error {
		if e.IsBid() {
			out.Emit(e.Bid)
		}
		return nil
	})
}

// Q0 passes everything through: what the generator and the runtime cost.
func Q0(events *weir.Stream[Event]) *weir.Stream[Event] {
	return events.Map("pass", weir.Self)
}

// Q1 converts the price of each bid to euros, at Beam's rate of 0.89.
func Q1(events *weir.Stream[Event]) *weir.Stream[Bid] {
	return Bids(events).Map("euros", func(b Bid) Bid {
		b.Price = b.Price * 89 / 100
		return b
	})
}

// AuctionPrice is a result of q2.
type AuctionPrice struct{ Auction, Price uint64 }

// Checksum is that of all fields.
func (p AuctionPrice) Checksum() uint64 { return uint64(sum(4).number(p.Auction).number(p.Price)) }

// Q2 selects the bids on some auctions.
func Q2(events *weir.Stream[Event]) *weir.Stream[AuctionPrice] {
	return Bids(events).
		Filter("selected", func(b Bid) bool { return b.Auction%auctionSkip == 0 }).
		Map("prices", func(b Bid) AuctionPrice { return AuctionPrice{b.Auction, b.Price} })
}
