// Command quiet says which users have gone quiet: a keyed operator with state and a
// timer. Run it with `go run ./examples/quiet`, or on a cluster with
// `weir run ./examples/quiet`.
//
// Clicks come from a generator, so there is nothing to install; each user clicks
// for a while and then stops. A user without a click for --after is reported, with
// the number of clicks until then.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// Click is one click of a user.
type Click struct {
	User string
	Page uint32
}

// Quiet is a user that has stopped clicking.
type Quiet struct {
	User   string
	Clicks int64
}

// String is what Print prints.
func (q Quiet) String() string { return fmt.Sprintf("%s went quiet after %d clicks", q.User, q.Clicks) }

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("quiet", flag.ContinueOnError)
	clicks := fs.Int64("clicks", 5000, "`number` of clicks; -1 goes on for ever")
	rate := fs.Float64("rate", 500, "clicks a `second`")
	after := fs.Duration("after", time.Second, "how `long` without a click is quiet")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.From("clicks", generator.Range(*clicks, click, generator.Rate(*rate))).
		KeyBy(func(c Click) string { return c.User }).
		Process("quiet", func(s *weir.Setup) *quiet { return newQuiet(s, *after) }).
		Print()
	return nil
}

// click is the i-th click: ten users at a time, for a hundred clicks each.
func click(i uint64) Click {
	return Click{User: fmt.Sprintf("user-%d", i/1000*10+i%10), Page: uint32(i % 97)}
}

// quiet remembers for each user the clicks and when the last one came.
type quiet struct {
	after  time.Duration
	clicks *weir.Value[int64]
	last   *weir.Value[int64] // ms since 1970
}

func newQuiet(s *weir.Setup, after time.Duration) *quiet {
	return &quiet{after: after, clicks: s.Value[int64]("clicks"), last: s.Value[int64]("last")}
}

// Process counts a click and asks to be called when the user may have gone quiet.
func (q *quiet) Process(c *weir.Ctx[string], _ Click, _ *weir.Collector[Quiet]) error {
	n, _ := q.clicks.Get()
	q.clicks.Set(n + 1)
	now := c.ProcessingTime()
	q.last.Set(now.UnixMilli())
	c.ProcessingTimerAt(now.Add(q.after))
	return nil
}

// OnTimer reports the user, unless there was a click since the timer was set.
func (q *quiet) OnTimer(c *weir.Ctx[string], out *weir.Collector[Quiet]) error {
	last, ok := q.last.Get()
	if !ok || c.ProcessingTime().Sub(time.UnixMilli(last)) < q.after {
		return nil
	}
	n, _ := q.clicks.Get()
	out.Emit(Quiet{c.Key(), n})
	q.clicks.Clear()
	q.last.Clear()
	return nil
}
