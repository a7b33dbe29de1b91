package generator

import "time"

const (
	// grain is the pause between polls of a source with a rate: 1 ms of records at a
	// time keeps the cost of waking up small and the stream smooth.
	grain = time.Millisecond
	// catchUp bounds what is made up for after a stall. A longer one (a restart, a
	// blocked output) would otherwise end in a burst that hides how the job does at
	// the rate that was asked for.
	catchUp = 100 * time.Millisecond
)

// pace says how many records are due. The zero value is no limit.
type pace struct {
	perSecond float64
	from      time.Time // the clock when `made` was 0
	made      float64   // records since from
}

// due returns the number of records that may be made now, at most room, and if it
// is 0 how long to wait.
func (p *pace) due(now time.Time, room uint64) (n uint64, wait time.Duration) {
	if p.from.IsZero() {
		p.from = now
	}
	owed := now.Sub(p.from).Seconds()*p.perSecond - p.made
	if most := max(1, catchUp.Seconds()*p.perSecond); owed > most {
		p.made += owed - most // forgotten
		owed = most
	}
	if owed < 1 {
		wait = time.Duration((1 - owed) / p.perSecond * float64(time.Second))
		return 0, max(wait, grain)
	}
	n = min(uint64(owed), room)
	p.made += float64(n)
	if p.made > 1e9 { // float64 counts to 2^53: start over long before it gets coarse
		p.from = p.from.Add(time.Duration(p.made / p.perSecond * float64(time.Second)))
		p.made = 0
	}
	return n, 0
}
