package sim

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/adoption"
	"github.com/weirstream/weir/jobmanager/execgraph"
)

// window is how long a new leader waits for workers to report what runs.
const window = 25 * time.Millisecond

// name is that of the worker's TaskManager, as it stands in registrations.
func (k *worker) name() string { return fmt.Sprintf("tm-%d", k.index) }

// widest is the vertex with the most subtasks: it has one in each slot.
func widest(g *job.Graph) (v job.VertexID) {
	for _, x := range g.Vertices {
		if x.Parallelism > g.Vertices[v].Parallelism {
			v = x.ID
		}
	}
	return v
}

// collect finds out what runs of the job, which an earlier leader has deployed.
func (l *leader) collect() {
	w := l.w
	l.phase, l.graph = collecting, w.store.graph
	l.adoption = adoption.New(adoption.Record{Regions: []adoption.Region{{
		Subtasks: l.graph.Subtasks(), Incarnation: w.store.incarnation, Attempt: job.Attempt{Epoch: w.store.deployedBy, N: w.store.attempt},
	}}, TaskManagers: w.store.slots}, time.Unix(0, int64(w.now+window)))
	l.on = map[job.SubtaskID]int{}
	for _, k := range w.workers {
		k.registerWith(l)
	}
	terminal := false
	if p := w.store.pointers[w.store.newest()]; p != nil {
		terminal = p.Terminal
	}
	l.adopt(adoption.Loaded{Terminal: terminal})
}

// registerWith has a worker find the leader, sooner or later, and say what it runs.
func (k *worker) registerWith(l *leader) {
	w := k.w
	w.after(w.between(0, 12), fmt.Sprintf("worker %d looks for leader %d", k.index, l.epoch), func() {
		switch {
		case l.gone() || l.phase != collecting || k.epoch > l.epoch:
		case !k.reachable():
			k.registerWith(l)
		default:
			k.epoch = l.epoch
			r := adoption.Registered{TaskManager: k.name()}
			if len(k.subtasks) > 0 {
				r.Worker = &adoption.Worker{
					ID: uint64(k.life), Ready: true, Subtasks: k.inventory(), Graph: execgraph.Worker{TaskManager: k.name(), ID: uint64(k.life)},
				}
			}
			w.after(w.between(0, 3), fmt.Sprintf("worker %d has registered with leader %d", k.index, l.epoch), func() {
				if !l.gone() && l.phase == collecting {
					l.adopt(r)
				}
			})
		}
	})
}

func (k *worker) inventory() (all []adoption.Subtask) {
	for _, s := range k.subtasks {
		x := adoption.Subtask{ID: s.execution.Subtask, Attempt: s.execution.Attempt, Incarnation: s.execution.Incarnation}
		switch {
		case s.gone:
			x.State = adoption.Canceled
		case s.running:
			x.State = adoption.Running
		}
		all = append(all, x)
	}
	return all
}

// heardRunning takes in that an attempt has come to run while others are waited for.
func (l *leader) heardRunning(x coordinator.Execution) {
	for _, k := range l.w.workers {
		for _, s := range k.subtasks {
			if s.execution == x {
				l.adopt(adoption.Said{TaskManager: k.name(), Subtask: adoption.Subtask{
					ID: x.Subtask, Attempt: x.Attempt, Incarnation: x.Incarnation, State: adoption.Running,
				}})
			}
		}
	}
}

// adopt is one step of the adoption, and what follows from it.
func (l *leader) adopt(e adoption.Event) {
	for _, f := range l.adoption.Step(time.Unix(0, int64(l.w.now)), e, nil) {
		switch f := f.(type) {
		case adoption.SetTimer:
			l.w.after(time.Duration(f.At.UnixNano())-l.w.now, fmt.Sprintf("leader %d: the window is over", l.epoch), func() {
				if !l.gone() && l.phase == collecting {
					l.adopt(adoption.Tick{})
				}
			})
		case adoption.Settled:
			l.settled(f.Regions[0])
		}
	}
}

// settled goes on with the attempts that run, or starts all of them again.
func (l *leader) settled(v adoption.Verdict) {
	w := l.w
	l.phase = watching
	missing := l.graph.Subtasks()
	for _, f := range v.Found {
		for _, k := range w.workers {
			for _, s := range k.subtasks {
				if s.execution.Subtask == f.Subtask.ID && s.execution.Incarnation == f.Subtask.Incarnation {
					l.on[f.Subtask.ID] = k.index
				}
			}
		}
	}
	switch {
	case v.Adopt:
		w.Adoptions++
		w.trace("adopt")
		l.executions = l.recorded()
		l.step(coordinator.Adopted{Graph: l.graph, Executions: l.executions, NextStateID: 1})
	case w.Mutant == AdoptInPart && len(l.on) > 0 && len(l.on) < len(missing):
		l.adoptInPart()
	default:
		w.Refused++
		l.restart("what runs can't be adopted: " + v.Reason)
	}
}

// recorded are the executions of the deployment on record.
func (l *leader) recorded() (all []coordinator.Execution) {
	for _, s := range l.graph.Subtasks() {
		all = append(all, coordinator.Execution{
			Subtask: s, Attempt: job.Attempt{Epoch: l.w.store.deployedBy, N: l.w.store.attempt}, Incarnation: l.w.store.incarnation,
		})
	}
	return all
}

// adoptInPart is the mistake to restart only what is gone: the missing subtasks start from
// the checkpoint beside those that are ahead of it.
func (l *leader) adoptInPart() {
	w := l.w
	completed := w.store.read().Completed
	if len(completed) == 0 {
		l.restart("nothing to start from")
		return
	}
	from := completed[len(completed)-1]
	parts, err := restore.Plan(from.Metadata, l.graph, restore.Options{Folder: "/job"})
	if err != nil {
		w.fail("BUG", "%v", err)
		return
	}
	l.executions = l.recorded()
	for i, x := range l.executions {
		if _, here := l.on[x.Subtask]; here {
			continue
		}
		k := w.workers[int(x.Subtask.Vertex)%workers]
		l.on[x.Subtask] = k.index
		k.start(l.graph, x, parts[i], from.Pointer, w.fabric[x.Incarnation])
	}
	l.step(coordinator.Adopted{Graph: l.graph, Executions: l.executions, NextStateID: 1})
}
