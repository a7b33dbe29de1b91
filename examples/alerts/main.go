// Command alerts says which machines have been too hot for a while: timers of event time,
// set and taken back. Run it with `go run ./examples/alerts`, or on a cluster with
// `weir run ./examples/alerts`.
//
// Readings come from a generator. One alert is enough: a machine is reported when it has been
// above --limit for longer than --hold without a break, and not again before it has cooled
// down. Whether the reading that ends it comes before or after the timer, the alerts are the
// same: records may be far ahead of the watermark, by which timers fire.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// Reading is the temperature of a machine at a time.
type Reading struct {
	Machine string
	Celsius int64
	At      time.Time
}

// Alert is a machine that has been too hot since a time.
type Alert struct {
	Machine string
	Since   time.Time
}

// String is what Print prints.
func (a Alert) String() string {
	return fmt.Sprintf("%s is too hot since %s", a.Machine, a.Since.UTC().Format(time.TimeOnly))
}

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("alerts", flag.ContinueOnError)
	readings := fs.Int64("readings", 3600, "`number` of readings; -1 goes on for ever")
	limit := fs.Int64("limit", 90, "`degrees` that are too many")
	hold := fs.Duration("hold", time.Minute, "how `long` a machine may be too hot")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.From("readings", generator.Range(*readings, reading, generator.Interleaved())).
		EventTime(func(r Reading) time.Time { return r.At }, 10*time.Second).
		KeyBy(func(r Reading) string { return r.Machine }).
		Process("alerts", func(s *weir.Setup) *watch { return newWatch(s, *limit, *hold) }).
		Print()
	return nil
}

// reading is one of six machines in turn, a second apart; machine m gets hot for a little
// longer than m half minutes in every ten.
func reading(i uint64) Reading {
	at := time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Second)
	m := int64(i % 6)
	r := Reading{Machine: fmt.Sprintf("machine-%d", m), Celsius: 70 + int64(i%13), At: at}
	if at.Sub(at.Truncate(10*time.Minute)) <= time.Duration(m)*30*time.Second {
		r.Celsius += 25
	}
	return r
}

// watch remembers for each machine since when it is too hot.
type watch struct {
	limit int64
	hold  time.Duration
	since *weir.Value[time.Time]
	known *weir.Value[bool] // it was reported
}

func newWatch(s *weir.Setup, limit int64, hold time.Duration) *watch {
	return &watch{limit, hold, s.Value[time.Time]("since"), s.Value[bool]("known")}
}

// Process sets a timer when a machine gets too hot, and takes it back when it cools down.
func (w *watch) Process(c *weir.Ctx[string], r Reading, out *weir.Collector[Alert]) error {
	since, hot := w.since.Get()
	switch {
	case r.Celsius > w.limit && !hot:
		w.since.Set(r.At)
		c.TimerAt(r.At.Add(w.hold))
	case r.Celsius <= w.limit && hot:
		if _, known := w.known.Get(); !known && r.At.Sub(since) > w.hold {
			out.Emit(Alert{c.Key(), since.UTC()})
		}
		c.DeleteTimer(since.Add(w.hold))
		w.since.Clear()
		w.known.Clear()
	}
	return nil
}

// OnTimer reports a machine that has not cooled down since.
func (w *watch) OnTimer(c *weir.Ctx[string], out *weir.Collector[Alert]) error {
	since, _ := w.since.Get()
	out.Emit(Alert{c.Key(), since.UTC()})
	w.known.Set(true)
	return nil
}
