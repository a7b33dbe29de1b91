package job

import (
	"fmt"
	"slices"
	"time"
)

// RestartKind is a restart strategy (restart-strategy.type).
type RestartKind uint8

// Restart strategies.
const (
	// ExponentialDelay waits longer after each failure, and forgets after a quiet time.
	ExponentialDelay RestartKind = iota + 1
	// FixedDelay tries a number of times, always after the same delay.
	FixedDelay
	// NoRestart fails the job at the first failure.
	NoRestart
	// FailureRate tries as long as there are not too many failures in a time, always after
	// the same delay.
	FailureRate
)

// String is the strategy's name in the configuration.
func (k RestartKind) String() string {
	switch k {
	case ExponentialDelay:
		return "exponential-delay"
	case FixedDelay:
		return "fixed-delay"
	case NoRestart:
		return "none"
	case FailureRate:
		return "failure-rate"
	}
	return fmt.Sprintf("restart-kind-%d", uint8(k))
}

// RestartPolicy says whether and when a failed job is started again.
type RestartPolicy struct {
	Kind RestartKind

	// Of ExponentialDelay.
	Initial    time.Duration // delay after the first failure
	Most       time.Duration // the longest delay
	Multiplier float64
	ResetAfter time.Duration // without a failure, after which Initial holds again

	// Of FixedDelay and FailureRate.
	Delay time.Duration

	Attempts int // of FixedDelay

	// Of FailureRate: one failure more than Failures within Interval is for good.
	Failures int
	Interval time.Duration
}

// DefaultRestart is exponential delay from 1 s to 1 min, by 1.5, forgotten after
// an hour, without a bound on the number: Flink's defaults.
var DefaultRestart = RestartPolicy{
	Kind: ExponentialDelay, Initial: time.Second, Most: time.Minute, Multiplier: 1.5, ResetAfter: time.Hour,
	Delay: time.Second, Attempts: 1,
}

// RestartHistory is what a policy remembers of a job's failures.
type RestartHistory struct {
	Failures int           // since the last reset; of FixedDelay: all
	Delay    time.Duration // the last one given by ExponentialDelay for a failure of the job's own
	Lost     time.Duration // the last one for a lost process
	Last     time.Time     // of the last failure
	Recent   []time.Time   // of FailureRate: of the failures within the interval, oldest first
}

// settled is how long after a failure the loss of a process is an incident of its
// own: a job that recovers does so in less.
const settled = 3 * time.Second

// Next says how long to wait before the job is started again after a failure at
// now, or ok = false if it has failed for good. Under ExponentialDelay the
// restart after a lost process is immediate: the cause is gone with the process, not
// in the job. One that is lost again soon, measured by the delay that has built
// up, waits: whoever kills it each time may be the job. Once it has not been, the next one is
// replaced at once again, however often that was before: machines go every day of a job's life.
func (p RestartPolicy) Next(h *RestartHistory, now time.Time, lostProcess bool) (delay time.Duration, ok bool) {
	switch p.Kind {
	case NoRestart:
		return 0, false
	case FixedDelay:
		h.Failures++
		h.Last = now
		return p.Delay, h.Failures <= p.Attempts
	case FailureRate:
		h.Failures++
		h.Last = now
		h.Recent = slices.DeleteFunc(append(h.Recent, now), func(t time.Time) bool { return now.Sub(t) >= p.Interval })
		return p.Delay, len(h.Recent) <= p.Failures
	}
	if !h.Last.IsZero() && now.Sub(h.Last) >= p.ResetAfter+h.Delay {
		*h = RestartHistory{}
	}
	since, first := now.Sub(h.Last), h.Last.IsZero()
	h.Failures++
	h.Last = now
	switch {
	case !lostProcess:
		h.Delay = p.longer(h.Delay)
		return h.Delay, true
	case first || since >= max(settled, 2*h.Lost):
		h.Lost = 0
	default:
		h.Lost = p.longer(h.Lost)
	}
	return h.Lost, true
}

// longer is the delay after d.
func (p RestartPolicy) longer(d time.Duration) time.Duration {
	if d == 0 {
		return p.Initial
	}
	return min(time.Duration(float64(d)*p.Multiplier), p.Most)
}
