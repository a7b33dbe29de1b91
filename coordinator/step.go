package coordinator

import "time"

// Coordinator is the checkpoint coordinator of one job under one leader. It belongs
// to one goroutine, the JobMaster's.
type Coordinator struct {
	config   Config
	identity Identity
}

// New returns a coordinator that waits for TookOver.
func New(config Config, identity Identity) *Coordinator {
	return &Coordinator{config: config.withDefaults(), identity: identity}
}

// Step takes in one event that happened at now and appends what has to be done to
// effects.
func (c *Coordinator) Step(now time.Time, event Event, effects []Effect) []Effect {
	return effects
}
