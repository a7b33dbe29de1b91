package nexmark

import (
	"strconv"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/window"
)

// LocalItem is a result of q3: an auction and where its seller lives.
type LocalItem struct {
	Name, City, State string
	Auction           uint64
}

// Checksum is that of all fields.
func (i LocalItem) Checksum() uint64 {
	return uint64(sum(5).text(i.Name).text(i.City).text(i.State).number(i.Auction))
}

// Q3 says who sells things of category 10 in Oregon, Idaho and California: a join of two
// streams that goes on for ever, as that of SQL. Whichever comes first waits in state.
func Q3(events *weir.Stream[Event]) *weir.Stream[LocalItem] {
	people := People(events).Filter("local", func(p Person) bool {
		return p.State == "OR" || p.State == "ID" || p.State == "CA"
	})
	auctions := Auctions(events).Filter("category", func(a Auction) bool { return a.Category == 10 })
	return auctions.KeyBy(func(a Auction) uint64 { return a.Seller }).
		Connect("sellers", people.KeyBy(func(p Person) uint64 { return p.ID }), newLocalItems)
}

// localItems joins the auctions of a seller with the seller.
type localItems struct {
	seller *weir.Value[LocalItem]
	early  *weir.List[uint64] // auctions that came before their seller
}

func newLocalItems(s *weir.Setup) *localItems {
	return &localItems{s.Value[LocalItem]("seller"), s.List[uint64]("early")}
}

// ProcessLeft implements weir.CoProcessor.
func (j *localItems) ProcessLeft(_ *weir.Ctx[uint64], a Auction, out *weir.Collector[LocalItem]) error {
	if item, ok := j.seller.Get(); ok {
		item.Auction = a.ID
		out.Emit(item)
	} else {
		j.early.Append(a.ID)
	}
	return nil
}

// ProcessRight implements weir.CoProcessor.
func (j *localItems) ProcessRight(_ *weir.Ctx[uint64], p Person, out *weir.Collector[LocalItem]) error {
	item := LocalItem{Name: p.Name, City: p.City, State: p.State}
	j.seller.Set(item)
	for id := range j.early.All() {
		item.Auction = id
		out.Emit(item)
	}
	j.early.Clear()
	return nil
}

// NewSeller is a result of q8.
type NewSeller struct {
	Person  uint64
	Name    string
	Reserve uint64
}

// Checksum is that of all fields.
func (s NewSeller) Checksum() uint64 {
	return uint64(sum(6).number(s.Person).text(s.Name).number(s.Reserve))
}

// Q8 says who has opened an auction soon after joining, in the same 10 s: one result for
// each auction, as in Beam.
func Q8(events *weir.Stream[Event]) *weir.Stream[NewSeller] {
	people := People(events).KeyBy(func(p Person) uint64 { return p.ID })
	auctions := Auctions(events).KeyBy(func(a Auction) uint64 { return a.Seller })
	return people.Join(auctions).Window(window.Tumbling(10*time.Second)).
		Apply("new-sellers", func(p Person, a Auction) NewSeller { return NewSeller{p.ID, p.Name, a.Reserve} })
}

// SideRow is a row of q13's side input.
type SideRow struct {
	Key   uint64
	Value string
}

// SideInput is q13's side input: as many rows as c says, and then it ends.
func SideInput(env *weir.Env, c Config) *weir.Stream[SideRow] {
	return env.From("side", generator.Range(int64(c.SideInputRows), func(i uint64) SideRow {
		return SideRow{i, strconv.FormatUint(i, 10)}
	}))
}

// SidedBid is a result of q13: a bid with what the side input says.
type SidedBid struct {
	Auction, Bidder, Price uint64
	At                     int64
	Value                  string
}

// Checksum is that of all fields.
func (b SidedBid) Checksum() uint64 {
	return uint64(sum(7).number(b.Auction).number(b.Bidder).number(b.Price).number(uint64(b.At)).text(b.Value))
}

// Q13 joins bids with a bounded side input: with its row auction mod rows, as in Beam. A
// bid that comes before its row waits for it. Both go by the key, so the side input may be
// of any size.
func Q13(events *weir.Stream[Event], side *weir.Stream[SideRow], rows uint64) *weir.Stream[SidedBid] {
	bids := Bids(events).Map("slim", func(b Bid) SidedBid { return SidedBid{b.Auction, b.Bidder, b.Price, b.At, ""} })
	return bids.KeyBy(func(b SidedBid) uint64 { return b.Auction % rows }).
		Connect("sided", side.KeyBy(func(r SideRow) uint64 { return r.Key }), newSided)
}

type sided struct {
	value *weir.Value[string]
	early *weir.List[SidedBid]
}

func newSided(s *weir.Setup) *sided {
	return &sided{s.Value[string]("value"), s.List[SidedBid]("early")}
}

// ProcessLeft implements weir.CoProcessor.
func (j *sided) ProcessLeft(_ *weir.Ctx[uint64], b SidedBid, out *weir.Collector[SidedBid]) error {
	value, ok := j.value.Get()
	if !ok {
		j.early.Append(b)
		return nil
	}
	b.Value = value
	out.Emit(b)
	return nil
}

// ProcessRight implements weir.CoProcessor.
func (j *sided) ProcessRight(_ *weir.Ctx[uint64], r SideRow, out *weir.Collector[SidedBid]) error {
	j.value.Set(r.Value)
	for b := range j.early.All() {
		b.Value = r.Value
		out.Emit(b)
	}
	j.early.Clear()
	return nil
}
