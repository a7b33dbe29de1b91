package execgraph

import (
	"slices"
	"sort"
	"time"
)

// fail lets regions fail over. A fatal failure can't be mended by a restart.
func (s *step) fail(regions []*region, f Failure, fatal bool) {
	if !s.active() {
		return
	}
	for _, r := range regions {
		switch r.phase {
		case regionIdle:
			r.cause, r.fatal, r.failedIn, r.failedAt = f, fatal, s.steps, s.now
			r.to(regionBackoff)
			s.backoff(r)
		case regionDeploying, regionRunning:
			r.cause, r.fatal, r.failedIn, r.failedAt = f, fatal, s.steps, s.now
			s.stop(r, f.Cause)
		}
		if !s.active() {
			return
		}
	}
}

// stop ends the attempts of a region.
func (s *step) stop(r *region, reason string) {
	r.to(regionStopping)
	r.stopBy = s.now.Add(s.cfg.CancelGrace + stopMargin)
	s.runningSince = time.Time{}
	var lost []Execution
	cancel := map[string]CancelAttempts{}
	for _, x := range s.of(r) {
		lost = append(lost, *x)
		if x.State.Live() {
			s.execution(x, Canceling)
			cancel[x.TaskManager] = CancelAttempts{
				TaskManager: x.TaskManager, Incarnation: x.Incarnation, Attempt: x.Attempt, Reason: reason, Grace: s.cfg.CancelGrace,
			}
		}
	}
	s.do(AttemptsLost{lost, reason})
	names, _ := s.taskManagers()
	for _, tm := range names {
		if c, ok := cancel[tm]; ok {
			s.do(c)
		}
	}
	if s.active() && s.Graph.state == Running {
		s.state(Restarting)
	}
	s.maybeDown(r)
}

// stopMargin is how long after the grace of a cancel an agent may take to kill the
// worker and say so; after it the worker is stopped from here.
const stopMargin = 5 * time.Second

// stopStuck stops the workers in which something of a stopping region still lives.
func (s *step) stopStuck(r *region) {
	r.stopBy = time.Time{}
	names, _ := s.taskManagers()
	for _, tm := range names {
		w := s.workers[tm]
		if w != nil && slices.ContainsFunc(s.of(r), func(x *Execution) bool { return x.State.Live() && x.TaskManager == tm }) {
			s.do(StopWorker{TaskManager: tm, ID: w.ID, Reason: "its subtasks do not answer their cancellation"})
		}
	}
}

// maybeDown goes on when nothing of a stopping region lives any more.
func (s *step) maybeDown(r *region) {
	if r.phase != regionStopping {
		return
	}
	for _, x := range s.of(r) {
		if x.State.Live() {
			return
		}
	}
	if !s.active() {
		r.to(regionStopped)
		s.maybeTerminal()
		return
	}
	r.to(regionBackoff)
	if r.planned {
		r.until = s.now
		return
	}
	s.backoff(r)
}

// sameIncident: the processes of a host, or the regions of a process, are lost one
// after the other; they are one failure for the restart strategy.
const sameIncident = time.Second

// backoff decides when a region that is down starts again.
func (s *step) backoff(r *region) {
	if s.Graph.state == Running {
		s.state(Restarting)
	}
	if r.fatal {
		s.giveUp(r.cause)
		return
	}
	if !s.joins(r) {
		delay, ok := s.cfg.Restart.Next(&s.history, s.now, r.lost)
		if !ok {
			s.giveUp(r.cause)
			return
		}
		s.incident = incident{number: s.incident.number + 1, step: r.failedIn, at: r.failedAt, lost: r.lost, delay: delay}
	}
	r.incident = s.incident.number
	s.failure = r.cause
	s.do(RegionFailed{Failure: r.cause, Delay: s.incident.delay})
	r.until = s.now.Add(s.incident.delay)
}

// joins reports whether the failure of r is part of the last incident. A region is
// part of one only once: that it fails again is another.
func (s *step) joins(r *region) bool {
	in := &s.incident
	if in.number == 0 || r.incident == in.number {
		return false
	}
	return r.failedIn == in.step || r.lost && in.lost && r.failedAt.Sub(in.at).Abs() < sameIncident
}

// giveUp fails the job for good.
func (s *step) giveUp(f Failure) {
	if !s.active() && s.Graph.state != Created {
		return
	}
	s.failure = f
	s.do(RegionFailed{Failure: f, GivenUp: true})
	s.state(Failing)
	s.stopAll("the job has failed: " + f.Cause)
}

// stopAll stops every region; when all have stopped the job is terminal.
func (s *step) stopAll(reason string) {
	s.round, s.roundRegions = roundNone, nil
	s.change = rescaling{}
	for _, r := range s.regions {
		switch r.phase {
		case regionIdle, regionBackoff:
			r.to(regionStopped)
		case regionDeploying, regionRunning:
			s.stop(r, reason)
		}
	}
	s.maybeTerminal()
}

func (s *step) maybeTerminal() {
	for _, r := range s.regions {
		if r.phase != regionStopped {
			return
		}
	}
	if s.asked {
		return
	}
	switch s.Graph.state {
	case Failing:
		s.asked = true
		s.do(JobTerminal{Failed, s.failure})
	case Cancelling:
		s.asked = true
		s.do(JobTerminal{Canceled, s.failure})
	}
}

// resultPersisted lets everything go.
func (s *step) resultPersisted(e ResultPersisted) {
	if s.Graph.state.Terminal() {
		return
	}
	if e.State == Finished && s.Graph.state == Restarting {
		s.state(Running) // its last failure no longer matters
	}
	s.state(e.State)
	if e.State == Finished { // every committer has acknowledged: only goodbyes are missing
		for _, id := range s.graph.Subtasks() {
			if x := s.executions[id]; x.State.Live() {
				s.execution(x, TaskFinished)
			}
		}
	}
	var names []string
	for tm := range s.workers {
		names = append(names, tm)
	}
	sort.Strings(names)
	for _, tm := range names {
		s.do(StopWorker{tm, s.workers[tm].ID, "the job is " + e.State.String(), s.cfg.CancelGrace})
	}
	s.do(ReleaseSlots{})
}
