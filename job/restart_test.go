package job

import (
	"testing"
	"time"
)

func TestRestartPolicy(t *testing.T) {
	t0 := time.Unix(1000, 0)
	type failure struct {
		after time.Duration // since the one before
		lost  bool
		want  time.Duration // < 0: failed for good
	}
	for name, c := range map[string]struct {
		policy   RestartPolicy
		failures []failure
	}{
		"none":  {RestartPolicy{Kind: NoRestart}, []failure{{0, true, -1}}},
		"fixed": {RestartPolicy{Kind: FixedDelay, Delay: time.Second, Attempts: 2}, []failure{{0, false, time.Second}, {1, true, time.Second}, {1, false, -1}}},
		"failure rate": {RestartPolicy{Kind: FailureRate, Delay: time.Second, Failures: 2, Interval: time.Minute}, []failure{
			{0, false, time.Second}, {30 * time.Second, true, time.Second}, {30 * time.Second, false, time.Second}, {30 * time.Second, false, time.Second}, {29 * time.Second, false, -1}}},
		"exponential grows to its bound": {RestartPolicy{Kind: ExponentialDelay, Initial: time.Second, Most: 2 * time.Second, Multiplier: 1.5, ResetAfter: time.Hour},
			[]failure{{0, false, time.Second}, {1, false, 1500 * time.Millisecond}, {1, false, 2 * time.Second}, {1, false, 2 * time.Second}}},
		"a lost process is replaced at once, each time": {DefaultRestart, []failure{{0, true, 0}, {time.Minute, true, 0}, {time.Minute, true, 0}, {10 * time.Second, true, 0}, {4 * time.Second, true, 0}, {4 * time.Second, true, 0}, {4 * time.Second, true, 0}}},
		"but not when it is lost again and again": {DefaultRestart, []failure{
			{0, true, 0}, {time.Second, true, time.Second}, {time.Second, true, 1500 * time.Millisecond}, {time.Second, true, 2250 * time.Millisecond},
			{3 * time.Second, true, 3375 * time.Millisecond}, {7 * time.Second, true, 0}, {time.Second, true, time.Second}}},
		"a job's own failures are another matter": {DefaultRestart, []failure{
			{0, false, time.Second}, {time.Second, false, 1500 * time.Millisecond}, {10 * time.Second, true, 0}, {time.Second, false, 2250 * time.Millisecond}, {time.Second, true, time.Second}}},
		"a quiet hour is forgotten": {DefaultRestart, []failure{{0, false, time.Second}, {2 * time.Hour, false, time.Second}, {2 * time.Hour, true, 0}}},
	} {
		var h RestartHistory
		now := t0
		for i, f := range c.failures {
			now = now.Add(f.after)
			d, ok := c.policy.Next(&h, now, f.lost)
			if !ok {
				d = -1
			}
			if d != f.want {
				t.Errorf("%s: failure %d: delay %v, want %v", name, i, d, f.want)
			}
		}
	}
}
