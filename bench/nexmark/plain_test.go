package nexmark

import (
	"cmp"
	"slices"
	"strconv"
)

// What the queries must come to, by programs that go through all events as often as they
// like.

// input is all events, apart.
type input struct {
	config   Config
	events   []Event
	people   []Person
	auctions []Auction
	bids     []Bid
}

func read(c Config, n uint64) *input {
	in := &input{config: c}
	for i := range n {
		e := c.Event(i)
		in.events = append(in.events, e)
		switch {
		case e.Person != nil:
			in.people = append(in.people, *e.Person)
		case e.Auction != nil:
			in.auctions = append(in.auctions, *e.Auction)
		default:
			in.bids = append(in.bids, e.Bid)
		}
	}
	return in
}

// span is the times of all events.
func (in *input) span() (first, last int64) {
	first, last = in.events[0].At(), in.events[0].At()
	for _, e := range in.events {
		first, last = min(first, e.At()), max(last, e.At())
	}
	return first, last
}

func plain0(in *input) []Event { return in.events }

func plain1(in *input) (all []Bid) {
	for _, b := range in.bids {
		b.Price = b.Price * 89 / 100
		all = append(all, b)
	}
	return all
}

func plain2(in *input) (all []AuctionPrice) {
	for _, b := range in.bids {
		if b.Auction%123 == 0 {
			all = append(all, AuctionPrice{b.Auction, b.Price})
		}
	}
	return all
}

func plain3(in *input) (all []LocalItem) {
	for _, p := range in.people {
		if !slices.Contains([]string{"OR", "ID", "CA"}, p.State) {
			continue
		}
		for _, a := range in.auctions {
			if a.Seller == p.ID && a.Category == 10 {
				all = append(all, LocalItem{p.Name, p.City, p.State, a.ID})
			}
		}
	}
	return all
}

func plain9(in *input) (all []Winner) {
	byAuction := map[uint64][]Bid{}
	for _, b := range in.bids {
		byAuction[b.Auction] = append(byAuction[b.Auction], b)
	}
	for _, a := range in.auctions {
		var fit []Bid
		for _, b := range byAuction[a.ID] {
			if b.At >= a.At && b.At < a.Expires && b.Price >= a.Reserve {
				fit = append(fit, b)
			}
		}
		slices.SortFunc(fit, func(x, y Bid) int {
			return cmp.Or(-cmp.Compare(x.Price, y.Price), cmp.Compare(x.At, y.At), cmp.Compare(x.Bidder, y.Bidder))
		})
		if len(fit) > 0 {
			all = append(all, Winner{a, fit[0]})
		}
	}
	return all
}

func plain4(in *input) (all []CategoryPrice) {
	won := plain9(in)
	first, last := in.span()
	for _, w := range won {
		last = max(last, w.Auction.Expires)
	}
	for end := first - first%5000; end <= last+10_000; end += 5000 {
		for category := uint64(10); category < 15; category++ {
			var total, n uint64
			for _, w := range won {
				if at := w.Auction.Expires; w.Auction.Category == category && at >= end-10_000 && at < end {
					total, n = total+w.Bid.Price, n+1
				}
			}
			if n > 0 {
				all = append(all, CategoryPrice{category, total / n, end})
			}
		}
	}
	return all
}

func plain6(in *input) (all []SellerPrice) {
	won := plain9(in)
	slices.SortFunc(won, func(a, b Winner) int {
		return cmp.Or(cmp.Compare(a.Auction.Expires, b.Auction.Expires), cmp.Compare(a.Auction.ID, b.Auction.ID))
	})
	for i, w := range won {
		var total, n uint64
		for k := i; k >= 0 && n < 10; k-- {
			if won[k].Auction.Seller == w.Auction.Seller {
				total, n = total+won[k].Bid.Price, n+1
			}
		}
		all = append(all, SellerPrice{w.Auction.Seller, total / n, w.Auction.ID})
	}
	return all
}

func plain5(in *input) (all []HotItem) {
	counts := map[int64]map[uint64]uint64{} // by end and auction
	for _, b := range in.bids {
		for end := b.At - b.At%2000 + 2000; end <= b.At+10_000; end += 2000 {
			if counts[end] == nil {
				counts[end] = map[uint64]uint64{}
			}
			counts[end][b.Auction]++
		}
	}
	for end, of := range counts {
		most := uint64(0)
		for _, n := range of {
			most = max(most, n)
		}
		for auction, n := range of {
			if n == most {
				all = append(all, HotItem{auction, n, end})
			}
		}
	}
	return all
}

func plain7(in *input) (all []Bid) {
	highest := map[int64]uint64{}
	for _, b := range in.bids {
		highest[b.At/10_000] = max(highest[b.At/10_000], b.Price)
	}
	for _, b := range in.bids {
		if b.Price == highest[b.At/10_000] {
			all = append(all, b)
		}
	}
	return all
}

func plain8(in *input) (all []NewSeller) {
	for _, p := range in.people {
		for _, a := range in.auctions {
			if a.Seller == p.ID && a.At/10_000 == p.At/10_000 {
				all = append(all, NewSeller{p.ID, p.Name, a.Reserve})
			}
		}
	}
	return all
}

func plain11(in *input) (all []BidderWindow) {
	times := map[uint64][]int64{}
	for _, b := range in.bids {
		times[b.Bidder] = append(times[b.Bidder], b.At)
	}
	for bidder, at := range times {
		slices.Sort(at)
		start := 0
		for i := range at {
			if i+1 == len(at) || at[i+1]-at[i] > 10_000 {
				all = append(all, BidderWindow{bidder, uint64(i - start + 1), at[start], at[i] + 10_000})
				start = i + 1
			}
		}
	}
	return all
}

func plain13(in *input) (all []SidedBid) {
	for _, b := range in.bids {
		row := strconv.FormatUint(b.Auction%in.config.SideInputRows, 10)
		all = append(all, SidedBid{b.Auction, b.Bidder, b.Price, b.At, row})
	}
	return all
}
