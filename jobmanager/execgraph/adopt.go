package execgraph

// adopt goes on with what was found of the job. Regions that run are left alone; of the
// others everything that lives is ended first (I2).
func (s *step) adopt(e Adopt) {
	for i := range min(len(s.slots), len(e.Slots)) {
		s.slots[i].TaskManager = e.Slots[i]
	}
	for _, w := range e.Workers {
		s.workers[w.TaskManager] = &w
	}
	running := 0
	var adopted []Execution
	for i, f := range e.Regions {
		for _, found := range f.Executions {
			x := s.executions[found.Subtask]
			found.Since = s.now
			*x = found
		}
		s.regions[i].deployed = true
		if f.Running {
			running++
			adopted = append(adopted, f.Executions...)
			s.regions[i].to(regionRunning)
		}
	}
	to := Restarting
	if running == len(s.regions) {
		to, s.runningSince = Running, s.now
	}
	s.state(to)
	if running > 0 {
		s.do(Adopted{adopted})
	}
	s.requestSlots() // what it has is its own from now on
	for i, f := range e.Regions {
		if r := s.regions[i]; !f.Running && s.active() {
			s.resume(r, f)
		}
	}
	if running == 0 && s.active() && !sameParallelism(s.wanted, s.graph) { // it starts as it is wanted to be
		s.change = rescaling{phase: rescaleStopping, target: s.wanted, own: true}
	}
}

// resume has a region that was not adopted started again, once nothing of it lives.
func (s *step) resume(r *region, f Found) {
	if f.Failure == nil {
		r.planned = true
		if len(f.Executions) > 0 { // else there is nothing of it: it waits for its turn
			r.to(regionDeploying)
			s.stop(r, f.Reason)
		}
		return
	}
	r.to(regionDeploying)
	r.lost = f.Lost
	s.fail([]*region{r}, *f.Failure, f.Fatal)
}
