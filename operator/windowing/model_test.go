package windowing_test

import (
	"fmt"
	"math"
	"slices"

	"github.com/weirstream/weir/window"
)

// rec is a record: n is its own number.
type rec struct {
	Key int
	At  int64
	N   int
}

// total is an accumulator that shows which records it is of.
type total struct{ Count, Sum int64 }

func (a total) plus(b total) total { return total{a.Count + b.Count, a.Sum + b.Sum} }

func one(r rec) total { return total{1, int64(r.N)*1_000_003 + int64(r.Key)} }

// line is what is emitted for a window.
func line(key int, w window.Span, a total) string {
	return fmt.Sprintf("%d [%d,%d) %d records %d", key, w.Start, w.End, a.Count, a.Sum)
}

// model is windows of event time by their definition: a list of windows with their
// elements for each key, gone through for each record and watermark.
type model struct {
	windows   func(r rec) []window.Span // of a record
	merging   bool
	lateness  int64
	watermark int64
	live      map[int][]*modelWindow
	late      int
}

type modelWindow struct {
	span  window.Span
	of    []rec
	fired bool
}

func (m *model) gone(w window.Span) bool { return w.MaxTime()+m.lateness <= m.watermark }

func (w *modelWindow) line(key int) string {
	var a total
	for _, r := range w.of {
		a = a.plus(one(r))
	}
	return line(key, w.span, a)
}

// push returns what the record has emitted: updates.
func (m *model) push(r rec) (out []string) {
	spans := m.windows(r)
	took := len(spans) == 0
	for _, s := range spans {
		w := &modelWindow{span: s}
		if m.merging {
			m.live[r.Key] = slices.DeleteFunc(m.live[r.Key], func(o *modelWindow) bool {
				if !o.span.Touches(s) {
					return false
				}
				w.span = w.span.Cover(o.span)
				w.of = append(w.of, o.of...)
				return true
			})
		} else if i := slices.IndexFunc(m.live[r.Key], func(o *modelWindow) bool { return o.span == s }); i >= 0 {
			w = m.live[r.Key][i]
			m.live[r.Key] = slices.Delete(m.live[r.Key], i, i+1)
		}
		if m.gone(w.span) {
			continue
		}
		took = true
		w.of = append(w.of, r)
		m.live[r.Key] = append(m.live[r.Key], w)
		if w.fired = w.span.MaxTime() <= m.watermark; w.fired {
			out = append(out, w.line(r.Key))
		}
	}
	if !took {
		m.late++
	}
	return out
}

// advance returns what the watermark has emitted.
func (m *model) advance(at int64) (out []string) {
	m.watermark = max(m.watermark, at)
	for key := range m.live {
		m.live[key] = slices.DeleteFunc(m.live[key], func(w *modelWindow) bool {
			if !w.fired && w.span.MaxTime() <= m.watermark {
				w.fired = true
				out = append(out, w.line(key))
			}
			return m.gone(w.span)
		})
	}
	return out
}

func gridModel(g window.Grid, lateness int64) *model {
	return &model{lateness: lateness, watermark: math.MinInt64, live: map[int][]*modelWindow{}, windows: func(r rec) (all []window.Span) {
		for k := (r.At-g.Offset)/g.Slide - g.Size/g.Slide - 2; k <= (r.At-g.Offset)/g.Slide+2; k++ {
			if w := (window.Span{Start: g.Offset + k*g.Slide, End: g.Offset + k*g.Slide + g.Size}); w.Contains(r.At) {
				all = append(all, w)
			}
		}
		return all
	}}
}

func sessionModel(gap func(rec) int64, lateness int64) *model {
	return &model{merging: true, lateness: lateness, watermark: math.MinInt64, live: map[int][]*modelWindow{}, windows: func(r rec) []window.Span {
		return []window.Span{{Start: r.At, End: r.At + gap(r)}}
	}}
}
