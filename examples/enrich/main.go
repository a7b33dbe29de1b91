// Command enrich says what orders in many currencies come to in euros: every subtask knows
// the rates, which are broadcast. Run it with `go run ./examples/enrich`, or on a cluster
// with `weir run ./examples/enrich`.
//
// An order takes the rate that is known when it comes. One that comes before the first rate
// of its currency waits until event time has passed it, so that rates as old as the order
// have come; if there is still none it goes to a side output.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// Rate is what 10,000 of a currency are in euros, from a time on.
type Rate struct {
	Currency string
	Euros    int64
	At       time.Time
}

// Order is in a currency.
type Order struct {
	ID       uint64
	Currency string
	Cents    int64
	At       time.Time
}

// Priced is an order in euros.
type Priced struct {
	Order
	EuroCents int64
}

// String is what Print prints.
func (p Priced) String() string {
	return fmt.Sprintf("order %d: %d.%02d %s are %d.%02d €", p.ID, p.Cents/100, p.Cents%100, p.Currency, p.EuroCents/100, p.EuroCents%100)
}

// unknown has the orders in currencies that nobody has given a rate for.
var unknown = weir.NewTag[Order]("unknown")

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("enrich", flag.ContinueOnError)
	orders := fs.Int64("orders", 20, "`number` of orders")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	rates := env.From("rates", generator.Range(4, rate), weir.Parallelism(1)).
		EventTime(func(r Rate) time.Time { return r.At }, 0)
	priced := env.From("orders", generator.Range(*orders, order, generator.Interleaved())).
		EventTime(func(o Order) time.Time { return o.At }, time.Second).
		KeyBy(func(o Order) string { return o.Currency }).
		ConnectBroadcast("price", rates.Broadcast(), newPricer)
	priced.Print()
	priced.Side(unknown).Map("refused", func(o Order) string { return fmt.Sprintf("order %d: no rate for %s", o.ID, o.Currency) }).Print()
	return nil
}

var start = time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)

func rate(i uint64) Rate {
	return Rate{[]string{"USD", "CHF", "JPY", "SEK"}[i], []int64{8900, 10700, 55, 910}[i], start}
}

func order(i uint64) Order {
	return Order{i, []string{"USD", "CHF", "XXX", "JPY"}[i%4], int64(i+1) * 1000, start.Add(time.Duration(i) * time.Second)}
}

type pricer struct {
	rates   *weir.BroadcastMap[string, int64]
	waiting *weir.List[Order] // for the first rate of their currency
	unknown *weir.Collector[Order]
}

func newPricer(s *weir.Setup) *pricer {
	return &pricer{s.BroadcastMap[string, int64]("rates"), s.List[Order]("waiting"), s.Side(unknown)}
}

// OnBroadcast learns a rate. Every subtask does.
func (p *pricer) OnBroadcast(r Rate, _ *weir.Collector[Priced]) error {
	p.rates.Set(r.Currency, r.Euros)
	return nil
}

// Process prices an order, or has it wait.
func (p *pricer) Process(c *weir.Ctx[string], o Order, out *weir.Collector[Priced]) error {
	if euros, ok := p.rates.Get(o.Currency); ok {
		out.Emit(Priced{o, o.Cents * euros / 10_000})
		return nil
	}
	p.waiting.Append(o)
	c.TimerAt(o.At)
	return nil
}

// OnTimer is called when all rates of a time have come: orders of then wait no longer.
func (p *pricer) OnTimer(c *weir.Ctx[string], out *weir.Collector[Priced]) error {
	var later []Order
	for o := range p.waiting.All() {
		if euros, ok := p.rates.Get(o.Currency); ok {
			out.Emit(Priced{o, o.Cents * euros / 10_000})
		} else if o.At.UnixMilli() > c.Millis() {
			later = append(later, o)
		} else {
			p.unknown.Emit(o)
		}
	}
	p.waiting.Replace(later)
	return nil
}
