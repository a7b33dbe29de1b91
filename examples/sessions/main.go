// Command sessions cuts what users do into visits: a visit ends when a user does nothing for
// --gap of event time. Run it with `go run ./examples/sessions`, or on a cluster with
// `weir run ./examples/sessions`.
//
// Clicks come from a generator, out of order by up to 5 s.
package main

import (
	"flag"
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/window"
)

// Click is a page that a user looks at.
type Click struct {
	User string
	Page uint32
	At   time.Time
}

// Visit is what a user has done without a pause.
type Visit struct {
	User  string
	Start time.Time
	Took  time.Duration
	Path  Path
}

// Path is what has come to a visit so far.
type Path struct {
	Clicks, Pages int64
	Seen          map[uint32]bool
}

// String is what Print prints.
func (v Visit) String() string {
	return fmt.Sprintf("%s came at %s for %v: %d clicks, %d pages", v.User, v.Start.UTC().Format(time.TimeOnly), v.Took, v.Path.Clicks, v.Path.Pages)
}

func main() { weir.Main(build, weir.Checkpoint(time.Second)) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("sessions", flag.ContinueOnError)
	clicks := fs.Int64("clicks", 2000, "`number` of clicks; -1 goes on for ever")
	gap := fs.Duration("gap", 30*time.Second, "how `long` a user does nothing between two visits")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.From("clicks", generator.Range(*clicks, click, generator.Interleaved())).
		EventTime(func(c Click) time.Time { return c.At }, 5*time.Second).
		KeyBy(func(c Click) string { return c.User }).
		Window(window.Session(*gap)).
		Aggregate("visits", noPath, Path.add, Path.merge, func(user string, w window.Span, p Path) Visit {
			return Visit{user, w.StartTime(), w.EndTime().Sub(w.StartTime()) - *gap, p}
		}).
		Print()
	return nil
}

// click is the i-th: ten users in turn, half a second apart, who stay away for every other
// minute; of each five clicks the first comes last.
func click(i uint64) Click {
	second := i / 2
	if i%10 == 9 {
		second -= 4
	}
	at := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(second+second/60*60) * time.Second)
	return Click{fmt.Sprintf("user-%d", i%10), uint32(i * i % 7), at}
}

func noPath() Path { return Path{} }

func (p Path) add(c Click) Path {
	return p.merge(Path{1, 1, map[uint32]bool{c.Page: true}})
}

// merge makes one path of two: a late click may join two visits.
func (p Path) merge(o Path) Path {
	if p.Seen == nil {
		return o
	}
	for page := range o.Seen {
		p.Seen[page] = true
	}
	p.Clicks, p.Pages = p.Clicks+o.Clicks, int64(len(p.Seen))
	return p
}
