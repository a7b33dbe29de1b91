package loop

import "time"

// Clock is the time that a loop sees.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own once d has passed. stop is false when
	// f has been called already. Neither waits for f: the loop calls both under its
	// mutex, which f takes.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// system is the machine's clock, or a bubble's.
type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// meterWindow is how long one figure of saturation is measured: long enough to pass
// over a burst, short enough that a stuck loop is seen before a heartbeat is missed
// (5 s).
const meterWindow = 4 * time.Second

// meter measures which part of the time the owner was busy. Guarded by the loop's
// mutex.
type meter struct {
	start  time.Time     // of the present window
	busy   time.Duration // in the present window, before since
	since  time.Time     // busy since; zero: idle
	last   float64       // of the window before, 0 … 1
	closed bool          // a window has been completed
}

// roll closes the window when it is over.
func (m *meter) roll(now time.Time) {
	total := now.Sub(m.start)
	if total < meterWindow {
		return
	}
	m.last, m.closed = m.part(now, total), true
	m.start, m.busy = now, 0
	if !m.since.IsZero() {
		m.since = now
	}
}

func (m *meter) part(now time.Time, total time.Duration) float64 {
	busy := m.busy
	if !m.since.IsZero() {
		busy += now.Sub(m.since)
	}
	if total <= 0 {
		return 0
	}
	return float64(busy) / float64(total)
}

// work and rest mark the owner busy and idle.
func (m *meter) work(now time.Time) {
	m.roll(now)
	m.since = now
}

func (m *meter) rest(now time.Time) {
	m.roll(now)
	if !m.since.IsZero() {
		m.busy += now.Sub(m.since)
	}
	m.since = time.Time{}
}

// read returns the last whole window, or the first one as far as it has come.
func (m *meter) read(now time.Time) float64 {
	m.roll(now)
	if m.closed {
		return m.last
	}
	return m.part(now, now.Sub(m.start))
}
