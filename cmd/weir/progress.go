package main

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barDelay is how long something must take before a bar is drawn for it.
const barDelay = time.Second

// bar draws on a terminal how far something is. The nil bar draws nothing: use it
// where there is no terminal.
type bar struct {
	c       *cli
	name    string
	began   time.Time
	bars    *mpb.Progress // nil until barDelay has passed
	drawn   *mpb.Bar
	current string // name of what is drawn
}

// newBar returns a bar, nil where stderr is no terminal. finish must be called.
func (c *cli) newBar(name string) *bar {
	if !c.terminal || c.getenv("NO_COLOR") != "" {
		return nil
	}
	return &bar{c: c, name: name, began: time.Now()}
}

// bytes says that done of all bytes are through.
func (b *bar) bytes(done, all int64) {
	if b != nil {
		b.set(b.name, done, all, true)
	}
}

// set says how far the part of the work that is called name is.
func (b *bar) set(name string, done, all int64, bytes bool) {
	if b == nil || all <= 0 || b.bars == nil && time.Since(b.began) < barDelay {
		return
	}
	if b.bars == nil {
		b.bars = mpb.New(mpb.WithOutput(b.c.stderr), mpb.WithWidth(40), mpb.WithAutoRefresh())
	}
	if b.drawn == nil || b.current != name {
		if b.drawn != nil {
			b.drawn.Abort(true)
		}
		counters := decor.CountersNoUnit("%d of %d")
		if bytes {
			counters = decor.Counters(decor.SizeB1024(0), "% .1f of % .1f")
		}
		b.current = name
		b.drawn = b.bars.AddBar(all, mpb.PrependDecorators(decor.Name(name+" ")), mpb.AppendDecorators(counters), mpb.BarRemoveOnComplete())
	}
	b.drawn.SetCurrent(min(done, all))
}

// finish takes the bar away.
func (b *bar) finish() {
	if b == nil || b.bars == nil {
		return
	}
	b.drawn.Abort(true)
	b.bars.Wait()
}
