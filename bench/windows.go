package main

import (
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/window"
)

// windowed is the count of a key in a window.
type windowed struct {
	Key, Count uint64
	Start, End int64
}

const (
	sessionGap  = 8 * time.Millisecond
	windowsLate = 100 * time.Millisecond // out-of-orderness
)

// eventMillis is the event time of record i.
func eventMillis(i uint64) int64 { return int64(i / 1000) }

func declareTumbling(env *weir.Env, p params) {
	declareWindows(env, p, window.Tumbling(time.Second), alignedWord)
}

func declareSliding(env *weir.Env, p params) {
	declareWindows(env, p, window.Sliding(10*time.Second, time.Second), alignedWord)
}

func declareSession(env *weir.Env, p params) {
	declareWindows(env, p, window.Session(sessionGap), sessionWord)
}

// declareWindows counts by key and window. No split is ever idle: their next records are
// known, and with Idleness(0) none is taken for idle by mistake.
func declareWindows(env *weir.Env, p params, a window.Assigner, word func(windowed) uint64) {
	source := generator.Range(int64(p.n), func(i uint64) event { return event{mix(i) % p.keys, i} }, p.source...)
	env.From("events", source).
		Watermarks("time", func(e event) int64 { return eventMillis(e.Value) }, weir.OutOfOrder[event](windowsLate), weir.Idleness(0)).
		KeyBy(func(e event) uint64 { return e.Key }).
		Window(a).
		Aggregate("count", func() uint64 { return 0 }, func(n uint64, _ event) uint64 { return n + 1 },
			func(a, b uint64) uint64 { return a + b },
			func(key uint64, w window.Span, n uint64) windowed { return windowed{key, n, w.Start, w.End} }).
		To("sums", sums[windowed]{word: word})
}

// alignedWord is a result of tumbling and sliding.
func alignedWord(w windowed) uint64 { return mix(w.Key*1000003 + mix(uint64(w.End)) + w.Count) }

// sessionWord is a result of session.
func sessionWord(w windowed) uint64 {
	return mix(w.Key*1000003 + mix(uint64(w.Start)) + mix(7*uint64(w.End)) + w.Count)
}

// met are the numbers of two records that an interval join has brought together.
type met struct{ Left, Right uint64 }

// joinReach is how far apart their times may be.
const joinReach = 2 * time.Millisecond

// declareJoin joins two streams with the same keys and times.
func declareJoin(env *weir.Env, p params) {
	side := func(uid string, number func(i uint64) uint64) *weir.Keyed[uint64, event] {
		source := generator.Range(int64(p.n), func(i uint64) event { return event{mix(number(i)) % p.keys, i} }, p.source...)
		return env.From(uid, source).
			Watermarks(uid+"-time", func(e event) int64 { return eventMillis(e.Value) }, weir.OutOfOrder[event](windowsLate), weir.Idleness(0)).
			KeyBy(func(e event) uint64 { return e.Key })
	}
	left := side("left", func(i uint64) uint64 { return i })
	right := side("right", func(i uint64) uint64 { return ^i })
	left.IntervalJoin(right).Between(-joinReach, joinReach).
		Apply("join", func(l, r event) met { return met{l.Value, r.Value} }).
		To("sums", sums[met]{word: func(m met) uint64 { return mix(31*m.Left + m.Right) }})
}
