package nexmark

// Event is a person, an auction or a bid: Person or Auction is set, or neither and it is
// the Bid.
type Event struct {
	Bid     Bid
	Person  *Person
	Auction *Auction
}

// Person is somebody who has joined the auction house.
type Person struct {
	ID         uint64
	Name       string
	Email      string
	CreditCard string
	City       string
	State      string
	At         int64 // ms since 1970, as are all times
	Extra      string
}

// Auction is something that is for sale until Expires.
type Auction struct {
	ID          uint64
	Item        string
	Description string
	InitialBid  uint64 // cents
	Reserve     uint64 // cents below which it is not sold
	At          int64
	Expires     int64
	Seller      uint64 // a Person
	Category    uint64
	Extra       string
}

// Bid is what somebody would pay.
type Bid struct {
	Auction uint64
	Bidder  uint64 // a Person
	Price   uint64 // cents
	At      int64
	Extra   string
}

// At is the time of the event, in ms.
func (e Event) At() int64 {
	switch {
	case e.Person != nil:
		return e.Person.At
	case e.Auction != nil:
		return e.Auction.At
	}
	return e.Bid.At
}

// IsBid reports whether the event is a bid.
func (e Event) IsBid() bool { return e.Person == nil && e.Auction == nil }

// sum is a checksum of a result: its fields mixed in, in order.
type sum uint64

func (s sum) number(n uint64) sum { return sum(mix(uint64(s)*1000003 + n)) }

// text mixes in its length and then its bytes, by FNV-1a.
func (s sum) text(t string) sum {
	h := uint64(14695981039346656037)
	for i := range len(t) {
		h = (h ^ uint64(t[i])) * 1099511628211
	}
	return s.number(uint64(len(t))).number(h)
}

// Checksum is that of an event.
func (e Event) Checksum() uint64 {
	switch {
	case e.Person != nil:
		return e.Person.Checksum()
	case e.Auction != nil:
		return e.Auction.Checksum()
	}
	return e.Bid.Checksum()
}

// Checksum is that of all fields.
func (p Person) Checksum() uint64 {
	return uint64(sum(1).number(p.ID).text(p.Name).text(p.Email).text(p.CreditCard).text(p.City).text(p.State).
		number(uint64(p.At)).text(p.Extra))
}

// Checksum is that of all fields.
func (a Auction) Checksum() uint64 {
	return uint64(sum(2).number(a.ID).text(a.Item).text(a.Description).number(a.InitialBid).number(a.Reserve).
		number(uint64(a.At)).number(uint64(a.Expires)).number(a.Seller).number(a.Category).text(a.Extra))
}

// Checksum is that of all fields.
func (b Bid) Checksum() uint64 {
	return uint64(sum(3).number(b.Auction).number(b.Bidder).number(b.Price).number(uint64(b.At)).text(b.Extra))
}
