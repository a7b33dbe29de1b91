package nexmark

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// Config shapes the events. Its defaults, and the constants below, are Beam's
// (NexmarkConfiguration; GeneratorConfig, PersonGenerator, AuctionGenerator, BidGenerator
// and PriceGenerator in org.apache.beam.sdk.nexmark.sources.generator).
type Config struct {
	Rate          uint64 // events a second of event time
	OutOfOrder    uint64 // events in a group whose order is mixed up; 1: none
	ActivePeople  uint64 // of the newest, who bid and sell
	InFlight      uint64 // auctions that are open at a time
	HotAuctions   uint64 // 1 of so many bids is not for a hot auction
	HotSellers    uint64 // 1 of so many auctions is not by a hot seller
	HotBidders    uint64 // 1 of so many bids is not by a hot bidder
	PersonBytes   int    // size of a Person, about
	AuctionBytes  int
	BidBytes      int
	SideInputRows uint64 // of q13
}

// Default is Beam's, but for the order: theirs is right (OutOfOrder 1), ours is what real
// streams are like.
func Default() Config {
	return Config{
		Rate: 10_000, OutOfOrder: 100, ActivePeople: 1000, InFlight: 100,
		HotAuctions: 2, HotSellers: 4, HotBidders: 4,
		PersonBytes: 200, AuctionBytes: 500, BidBytes: 100, SideInputRows: 500,
	}
}

const (
	// Of 50 events the first is a person, 3 are auctions, 46 are bids.
	people, auctions, bids = 1, 3, 46
	epoch                  = people + auctions + bids

	firstPerson, firstAuction, firstCategory = 1000, 1000, 10

	categories = 5   // few, so that small inputs have results
	hotBatch   = 100 // of so many people or auctions in a row one is hot
	lead       = 10  // ids that are used so long before they are there

	// shuffle is the step by which a group is gone through: a prime.
	shuffle = 953
)

// baseTime is that of event 0: 2015-07-15, NexmarkUtils.BASE_TIME.
var baseTime = time.Date(2015, 7, 15, 0, 0, 0, 0, time.UTC).UnixMilli()

var (
	states     = [...]string{"AZ", "CA", "ID", "OR", "WA", "WY"}
	cities     = [...]string{"Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"}
	firstNames = [...]string{"Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"}
	lastNames  = [...]string{"Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"}
)

// Source is n events; n < 0: without end. The source's subtasks keep step.
func (c Config) Source(n int64, opts ...generator.Option) weir.Source[Event] {
	return generator.Range(n, c.Event, append([]generator.Option{generator.Interleaved()}, opts...)...)
}

// Events is n events with their times.
func Events(env *weir.Env, c Config, n int64, opts ...generator.Option) *weir.Stream[Event] {
	return Timed(env.From("events", c.Source(n, opts...)), c)
}

// Timed gives events their times. No split of the generator ever waits, so none is idle.
func Timed(events *weir.Stream[Event], c Config) *weir.Stream[Event] {
	return events.Watermarks("time", Event.At, weir.OutOfOrder[Event](c.Bound()), weir.Idleness(0))
}

// Bound is how much later than others an event comes, at most.
func (c Config) Bound() time.Duration {
	if c.OutOfOrder == 1 {
		return 0
	}
	return time.Duration(c.time(c.OutOfOrder)-c.time(0)+1) * time.Millisecond // times are rounded
}

// Check refuses what can't be generated.
func (c Config) Check() error {
	switch {
	case c.Rate == 0 || c.OutOfOrder == 0 || c.HotAuctions == 0 || c.HotSellers == 0 || c.HotBidders == 0 || c.SideInputRows == 0:
		return fmt.Errorf("nexmark: a rate, group, ratio or number of rows of 0 is not possible: %+v", c)
	case c.OutOfOrder%shuffle == 0:
		return fmt.Errorf("nexmark: groups of %d events can't be mixed up: a multiple of %d", c.OutOfOrder, shuffle)
	case c.Rate > 1_000_000 || c.InFlight > 1_000_000 || c.ActivePeople > 1_000_000 || c.OutOfOrder > 1_000_000:
		return fmt.Errorf("nexmark: at most a million events a second, auctions in flight, active people and events in a group: %+v", c)
	}
	return nil
}

// time is the event time of event number i.
func (c Config) time(i uint64) int64 {
	high, low := bits.Mul64(i, 1000)
	ms, _ := bits.Div64(high, low, c.Rate)
	return baseTime + int64(ms)
}

// Event is the i-th that is read. Its number, which says its time and kind, is another one
// of its group.
func (c Config) Event(i uint64) Event {
	id := i
	if c.OutOfOrder > 1 {
		id = i - i%c.OutOfOrder + i%c.OutOfOrder*shuffle%c.OutOfOrder
	}
	r := random(mix(id))
	switch at := c.time(id); {
	case id%epoch < people:
		return Event{Person: c.person(id, &r, at)}
	case id%epoch < people+auctions:
		return Event{Auction: c.auction(id, &r, at)}
	default:
		return Event{Bid: c.bid(id, &r, at)}
	}
}

func (c Config) person(id uint64, r *random, at int64) *Person {
	p := &Person{
		ID:         lastPerson(id) + firstPerson,
		Name:       pick(r, firstNames[:]) + " " + pick(r, lastNames[:]),
		Email:      r.text(7) + "@" + r.text(5) + ".com",
		CreditCard: fmt.Sprintf("%04d %04d %04d %04d", r.below(10000), r.below(10000), r.below(10000), r.below(10000)),
		City:       pick(r, cities[:]), State: pick(r, states[:]), At: at,
	}
	p.Extra = r.padding(8+len(p.Name)+len(p.Email)+len(p.CreditCard)+len(p.City)+len(p.State), c.PersonBytes)
	return p
}

func (c Config) auction(id uint64, r *random, at int64) *Auction {
	a := &Auction{ID: lastAuction(id) + firstAuction, At: at}
	if r.below(c.HotSellers) > 0 {
		a.Seller = lastPerson(id)/hotBatch*hotBatch + firstPerson
	} else {
		a.Seller = c.anyPerson(id, r) + firstPerson
	}
	a.Category = firstCategory + r.below(categories)
	a.InitialBid = r.price()
	// As long as it takes, on average, until InFlight others have been opened.
	horizon := c.time(id+c.InFlight*epoch/auctions) - at
	a.Expires = at + 1 + int64(r.below(uint64(max(2*horizon, 1))))
	a.Item, a.Description = r.text(3+int(r.below(17))), r.text(3+int(r.below(97)))
	a.Reserve = a.InitialBid + r.price()
	a.Extra = r.padding(8+len(a.Item)+len(a.Description)+5*8, c.AuctionBytes)
	return a
}

func (c Config) bid(id uint64, r *random, at int64) Bid {
	b := Bid{At: at}
	if r.below(c.HotAuctions) > 0 {
		b.Auction = lastAuction(id)/hotBatch*hotBatch + firstAuction
	} else {
		b.Auction = c.anyAuction(id, r) + firstAuction
	}
	if r.below(c.HotBidders) > 0 { // not the hot seller
		b.Bidder = lastPerson(id)/hotBatch*hotBatch + 1 + firstPerson
	} else {
		b.Bidder = c.anyPerson(id, r) + firstPerson
	}
	b.Price = r.price()
	b.Extra = r.padding(4*8, c.BidBytes)
	return b
}

// lastPerson is the newest person at event number id, from 0.
func lastPerson(id uint64) uint64 { return id / epoch * people }

// lastAuction is the newest auction at event number id, from 0; 0 if there is none yet.
func lastAuction(id uint64) uint64 {
	n, offset := id/epoch*auctions, id%epoch
	switch {
	case offset < people:
		return max(n, 1) - 1
	case offset < people+auctions:
		return n + offset - people
	}
	return n + auctions - 1
}

// anyPerson is one of the active people, or of the next few.
func (c Config) anyPerson(id uint64, r *random) uint64 {
	n := lastPerson(id) + 1
	active := min(n, c.ActivePeople)
	return n - active + r.below(active+lead)
}

// anyAuction is one of those that are likely to be open, or of the next few.
func (c Config) anyAuction(id uint64, r *random) uint64 {
	last := lastAuction(id)
	first := last - min(last, c.InFlight)
	return first + r.below(last-first+1+lead)
}

// mix is splitmix64's output function.
func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// random is a splitmix64 of one event.
type random uint64

func (r *random) next() uint64 {
	v := mix(uint64(*r))
	*r += 0x9E3779B97F4A7C15
	return v
}

// below is 0 … n−1.
func (r *random) below(n uint64) uint64 {
	v, _ := bits.Mul64(r.next(), n)
	return v
}

func pick(r *random, all []string) string { return all[r.below(uint64(len(all)))] }

// priceSteps is in how many pieces the range of prices is divided, in which they are even.
const priceSteps = 1 << 12

// prices are 100·10^(6x) cents for x = 0 … 1: $1 to $1,000,000, evenly by their logarithm.
var prices = func() (p [priceSteps + 1]uint64) {
	for i := range p {
		p[i] = uint64(math.Round(100 * math.Pow(10, 6*float64(i)/priceSteps)))
	}
	return p
}()

func (r *random) price() uint64 {
	v := r.next()
	i := v % priceSteps
	more, _ := bits.Mul64(v, prices[i+1]-prices[i])
	return prices[i] + more
}

// letters is what texts are cut from: a power of two, and room behind it.
var letters = func() string {
	const most = 1 << 12
	b := make([]byte, 1<<16+most)
	r := random(1)
	for i := range b {
		b[i] = 'a' + byte(r.below(26))
	}
	return string(b)
}()

// text is n letters.
func (r *random) text(n int) string {
	at := int(r.next() % (1 << 16))
	return letters[at : at+n]
}

// padding makes a record of about want bytes of one that has some: up to a fifth more or
// less.
func (r *random) padding(has, want int) string {
	if has >= want {
		return ""
	}
	want -= has
	some := uint64(want+2) / 5
	return r.text(min(want-int(some)+int(r.below(2*some+1)), 1<<12))
}
