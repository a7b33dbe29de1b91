package operator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/invariants"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// ErrKey: a record is at the subtask of another key. The key selector is not
// deterministic; a restart will not help.
var ErrKey = errors.New("the key selector is not deterministic")

// Ctx is what a keyed operator knows of the current record: its key, the time, and
// the timers of its key. It is valid inside the operator's callbacks.
type Ctx[K any] struct {
	key    K
	setup  *Setup
	rt     *Runtime
	timers *table.Timers // of processing time; nil: the operator has no timer callback
	events *table.Timers // of event time; nil likewise
	domain TimeDomain    // of the timer that fires
	fired  int64         // its time
}

// TimeDomain says which clock a timer is of.
type TimeDomain uint8

// Values of TimeDomain.
const (
	// NoTimer: no timer is firing.
	NoTimer TimeDomain = iota
	// ProcessingTime is the wall clock.
	ProcessingTime
	// EventTimeDomain is the clock that watermarks advance.
	EventTimeDomain
)

// Timer is the timer that has OnTimer called: its time, and which clock that is of.
func (c *Ctx[K]) Timer() (at time.Time, d TimeDomain) { return EventTime(c.fired), c.domain }

// Time is the event time of the current record, or of the event-time timer that fires:
// what is emitted has it too. ok is false if there is none.
func (c *Ctx[K]) Time() (at time.Time, ok bool) {
	return EventTime(c.rt.Time), c.rt.Time != NoTime
}

// Millis is Time in ms since 1970, NoTime if there is none.
func (c *Ctx[K]) Millis() int64 { return c.rt.Time }

// Watermark is how far event time has come: no record of that time or before is
// expected. It is math.MinInt64 ms before the first.
func (c *Ctx[K]) Watermark() time.Time { return EventTime(c.rt.Watermark) }

// WatermarkMillis is Watermark in ms since 1970.
func (c *Ctx[K]) WatermarkMillis() int64 { return c.rt.Watermark }

// TimerAt has OnTimer called for the current key when event time has reached at, rounded
// up to ms. A key has at most one timer for a time. One for a time that has been reached
// fires at the next watermark. At the end of the input all fire.
func (c *Ctx[K]) TimerAt(at time.Time) { c.TimerAtMillis(timerTime(at)) }

// TimerAtMillis is TimerAt for ms since 1970.
func (c *Ctx[K]) TimerAtMillis(at int64) {
	if c.events == nil {
		c.rt.Fail(fmt.Errorf("operator %q sets a timer but has no method OnTimer", c.setup.o.UID))
		return
	}
	c.events.Register(at)
}

// DeleteTimer takes back the current key's event-time timer at the given time.
func (c *Ctx[K]) DeleteTimer(at time.Time) { c.DeleteTimerMillis(timerTime(at)) }

// DeleteTimerMillis is DeleteTimer for ms since 1970.
func (c *Ctx[K]) DeleteTimerMillis(at int64) {
	if c.events != nil {
		c.events.Delete(at)
	}
}

// Key is the key of the current record or timer.
func (c *Ctx[K]) Key() K { return c.key }

// ProcessingTime is the wall clock, read once for each batch at most.
func (c *Ctx[K]) ProcessingTime() time.Time { return c.rt.Turn }

// ProcessingTimerAt has OnTimer called for the current key when the wall clock has
// reached at, rounded up to ms. A key has at most one timer for a time. Timers that
// are pending when all inputs have ended do not fire: act in EndOfInput.
func (c *Ctx[K]) ProcessingTimerAt(at time.Time) {
	if c.timers == nil {
		c.rt.Fail(fmt.Errorf("operator %q sets a timer but has no method OnTimer", c.setup.o.UID))
		return
	}
	c.timers.Register(timerTime(at))
}

// DeleteProcessingTimer takes back the current key's timer at the given time.
func (c *Ctx[K]) DeleteProcessingTimer(at time.Time) {
	if c.timers != nil {
		c.timers.Delete(timerTime(at))
	}
}

// Log is the job's log; its lines carry job, uid and subtask.
func (c *Ctx[K]) Log() *slog.Logger { return c.rt.Log }

// Counter returns the user counter with this name; see Setup.Counter.
func (c *Ctx[K]) Counter(name string) *Counter { return c.setup.Counter(name) }

// Subtask is the number of this instance of the operator, 0 … Parallelism−1.
func (c *Ctx[K]) Subtask() int { return c.rt.Subtask }

// Parallelism is the number of subtasks.
func (c *Ctx[K]) Parallelism() int { return c.rt.Parallelism }

// timerTime is at in the unit of timers, ms since 1970, never earlier than at.
func timerTime(at time.Time) int64 {
	ms := at.UnixMilli()
	if time.UnixMilli(ms).Before(at) {
		ms++
	}
	return ms
}

// KeyCursor puts a keyed operator's state on the key of the current record. The
// SDK's keyed heads have one each. Only in a subtask, not at plan time.
type KeyCursor[K any] struct {
	store *table.Store
	codec codec.Key[K]
	words bool
	left  int // records until the hash is checked again
	buf   []byte
	soon  []byte // scratch of Ahead
	hash  uint64
	ctx   Ctx[K]
}

// checkEvery is how many records pass between two comparisons of the producer's
// hash with the key's own: a key selector that is not deterministic is found soon,
// and the ~5 ns of a hash vanish.
const checkEvery = 1024

// NewKeyCursor returns the cursor of the operator that s belongs to. timed says that it
// has a timer callback.
func NewKeyCursor[K any](s *Setup, c codec.Key[K], timed bool) *KeyCursor[K] {
	cur := &KeyCursor[K]{
		store: s.o.Store, codec: c, words: c.WordWidth() > 0,
		ctx: Ctx[K]{setup: s, rt: s.o.Runtime},
	}
	if timed {
		cur.ctx.timers, cur.ctx.events = s.Timers(), s.EventTimers()
	}
	s.cursor = cur
	return cur
}

// Ctx is the context of the key that was set last; always the same pointer.
func (c *KeyCursor[K]) Ctx() *Ctx[K] { return &c.ctx }

// Set makes k, whose encoding hashes to hash, the current key. It returns false,
// and has failed the attempt, if the key does not belong to this subtask.
func (c *KeyCursor[K]) Set(hash uint64, k K) bool {
	c.ctx.key, c.hash = k, hash
	if c.left--; c.left < 0 || invariants.Enabled || !c.store.Owns(hash) {
		c.left = checkEvery
		if !c.check(hash, k) {
			return false
		}
	}
	if c.words {
		c.store.SetWord(hash, c.codec.Word(k))
		return true
	}
	c.buf = c.codec.Append(c.buf[:0], k)
	c.store.SetKey(hash, c.buf)
	return true
}

func (c *KeyCursor[K]) check(hash uint64, k K) bool {
	uid := c.ctx.setup.o.UID
	if own := c.codec.Hash(k); own != hash {
		c.ctx.rt.Fail(fmt.Errorf("operator %q: %w: it gave key %v to a record that was sent here by another key (of key group %d, now %d)",
			uid, ErrKey, k, stream.GroupOf(hash), stream.GroupOf(own)))
		return false
	}
	if !c.store.Owns(hash) {
		c.ctx.rt.Fail(fmt.Errorf("operator %q: record of key %v belongs to key group %d, this subtask owns %v: %w",
			uid, k, stream.GroupOf(hash), c.store.Range(), ErrKey))
		return false
	}
	return true
}

// Warm brings the slots of keys with these hashes into the processor's cache. It reports
// whether some may lie on disk: then Ahead, for each key, and FetchAhead bring those into
// memory.
func (c *KeyCursor[K]) Warm(hashes []uint64) (cold bool) {
	c.store.Warm(hashes)
	return c.store.Spilled()
}

// Ahead names a key of a record that comes soon. The current key stays.
func (c *KeyCursor[K]) Ahead(hash uint64, k K) {
	if c.words {
		c.store.Ahead(hash, c.codec.Word(k), nil)
		return
	}
	c.soon = c.codec.Append(c.soon[:0], k)
	c.store.Ahead(hash, 0, c.soon)
}

// FetchAhead brings what Ahead has named into memory.
func (c *KeyCursor[K]) FetchAhead() { c.store.FetchAhead() }

// SetTimer makes the key of a timer that is due the current one, until EndTimer. The
// store stands on it already (table.Timers.Due).
func (c *KeyCursor[K]) SetTimer(t table.Timer, d TimeDomain) error {
	c.ctx.domain, c.ctx.fired = d, t.At
	if c.ctx.rt.Time = NoTime; d == EventTimeDomain {
		c.ctx.rt.Time = t.At
	}
	return c.setDecoded(t.Hash, t.Word, t.Enc)
}

// EndTimer says that the timer's callback has returned.
func (c *KeyCursor[K]) EndTimer() { c.ctx.domain = NoTimer }

// SetKey makes a key of a state the current one, for a walk with Value.Each; the
// store is not moved, so only Ctx.Key may be used.
func (c *KeyCursor[K]) SetKey(k table.Key) error { return c.setDecoded(k.Hash, k.Word, k.Enc) }

func (c *KeyCursor[K]) setDecoded(hash, word uint64, enc []byte) error {
	c.hash = hash
	if c.words {
		c.ctx.key = c.codec.FromWord(word)
		return nil
	}
	k, n, err := c.codec.Decode(enc)
	if err == nil && n != len(enc) {
		err = fmt.Errorf("key takes %d of %d bytes", n, len(enc))
	}
	if err != nil {
		return fmt.Errorf("operator %q: decode key of %d bytes: %w", c.ctx.setup.o.UID, len(enc), err)
	}
	c.ctx.key = k
	return nil
}

// describe names the current key for the report of a failure.
func (c *KeyCursor[K]) describe() string {
	text := fmt.Sprintf("%v", c.ctx.key)
	const most = 100 // characters of a key in a message
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return fmt.Sprintf("key %s (key group %d)", text, stream.GroupOf(c.hash))
}
