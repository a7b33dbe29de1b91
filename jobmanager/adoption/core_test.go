package adoption

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weirstream/weir/coordinator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
)

// transcript drives a Core.
//
//	new [window=6s] slots=t1/t2: a region a line, "incarnation [attempt] v0[0] v0[1] …"
//	loaded [terminal]
//	registered tm=t1 [worker=3] [building]: a subtask a line, "v0[0]=running [5 [attempt]] [why]"
//	  and "exited 3 why", "ended v0[0]"
//	said tm=t1 v=v0[0]=failed [why=…] · exited tm=t1 id=3 [user] · lost tm=t1 · wait for=6s
type transcript struct {
	c     *Core
	now   time.Time
	start time.Time
}

func idNamed(t *testing.T, name string) (s job.SubtaskID) {
	t.Helper()
	if _, err := fmt.Sscanf(name, "v%d[%d]", &s.Vertex, &s.Index); err != nil {
		t.Fatalf("subtask %q: %v", name, err)
	}
	return s
}

// subtask reads "v0[0]=running incarnation/n why_it_failed".
func subtask(t *testing.T, f []string) Subtask {
	name, state, _ := strings.Cut(f[0], "=")
	s := Subtask{ID: idNamed(t, name), Incarnation: 5, Attempt: job.Attempt{Epoch: 7, N: 5}}
	at := slices.Index(stateNames[:], state)
	if at < 0 {
		t.Fatalf("state %q", state)
	}
	s.State = State(at)
	if len(f) > 1 {
		fmt.Sscanf(f[1], "%d/%d", &s.Incarnation, &s.Attempt.N)
	}
	if len(f) > 2 {
		s.Failure = strings.ReplaceAll(f[2], "_", " ")
	}
	return s
}

func (r *transcript) run(t *testing.T, d *datadriven.TestData) string {
	str := func(key string) (v string) {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &v)
		}
		return v
	}
	switch d.Cmd {
	case "new":
		return r.fresh(t, d, str)
	case "loaded":
		return r.step(Loaded{Terminal: d.HasArg("terminal")})
	case "registered":
		return r.registered(t, d, str)
	case "said":
		return r.step(Said{str("tm"), subtask(t, strings.Fields(d.Input))})
	case "exited":
		e := WorkerExited{TaskManager: str("tm"), Exited: Exited{Worker: 3, Reason: "signal: killed", UserError: d.HasArg("user")}}
		return r.step(e)
	case "lost":
		return r.step(Lost{str("tm")})
	case "wait":
		after, err := time.ParseDuration(str("for"))
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		r.now = r.now.Add(after)
		return r.step(Tick{})
	}
	d.Fatalf(t, "unknown command")
	return ""
}

func (r *transcript) fresh(t *testing.T, d *datadriven.TestData, str func(string) string) string {
	r.start = time.Unix(1000, 0)
	r.now = r.start
	rec := Record{TaskManagers: strings.Split(str("slots"), "/")}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		var reg Region
		fmt.Sscanf(f[0], "%d/%d", &reg.Incarnation, &reg.Attempt.N)
		if reg.Incarnation > 0 {
			reg.Attempt.Epoch = 7
		}
		for _, name := range f[1:] {
			reg.Subtasks = append(reg.Subtasks, idNamed(t, name))
		}
		rec.Regions = append(rec.Regions, reg)
	}
	r.c = New(rec, r.start.Add(6*time.Second))
	return ""
}

func (r *transcript) registered(t *testing.T, d *datadriven.TestData, str func(string) string) string {
	e := Registered{TaskManager: str("tm")}
	if d.HasArg("worker") {
		w := &Worker{Ready: !d.HasArg("building")}
		d.ScanArgs(t, "worker", &w.ID)
		w.Graph = execgraph.Worker{TaskManager: e.TaskManager, ID: w.ID, Ready: true}
		e.Worker = w
	}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		switch f[0] {
		case "exited":
			e.Exited = append(e.Exited, Exited{Worker: 2, Reason: strings.ReplaceAll(f[1], "_", " "), UserError: len(f) > 2})
		case "ended":
			e.Worker.Facts = append(e.Worker.Facts, coordinator.SourceEnded{Execution: coordinator.Execution{Subtask: idNamed(t, f[1])}})
		default:
			e.Worker.Subtasks = append(e.Worker.Subtasks, subtask(t, f))
		}
	}
	return r.step(e)
}

func (r *transcript) step(e Event) string {
	var b strings.Builder
	for _, f := range r.c.Step(r.now, e, nil) {
		switch f := f.(type) {
		case SetTimer:
			fmt.Fprintf(&b, "SetTimer in %v\n", f.At.Sub(r.now))
		case Settled:
			r.settled(&b, f)
		}
	}
	return b.String()
}

func (r *transcript) settled(b *strings.Builder, f Settled) {
	adopted, restarted := r.c.Count(f)
	fmt.Fprintf(b, "Settled: %d adopted, %d restarted, slots %q\n", adopted, restarted, f.Slots)
	for i, v := range f.Regions {
		switch {
		case v.Adopt:
			fmt.Fprintf(b, "region %d is adopted:", i)
		case v.Failure:
			fmt.Fprintf(b, "region %d has failed (%s), fatal %v:", i, v.Reason, v.Fatal)
		default:
			fmt.Fprintf(b, "region %d starts again (%s):", i, v.Reason)
		}
		for _, x := range v.Found {
			fmt.Fprintf(b, " %v=%v@%s/%d", x.Subtask.ID, x.Subtask.State, x.Worker.TaskManager, x.Worker.ID)
		}
		b.WriteByte('\n')
	}
	for _, w := range f.Workers {
		fmt.Fprintf(b, "worker %d on %s stays\n", w.ID, w.TaskManager)
	}
	for _, s := range f.Stop {
		fmt.Fprintf(b, "worker %d on %s is stopped: %s\n", s.Worker, s.TaskManager, s.Reason)
	}
	for _, x := range f.Facts {
		fmt.Fprintf(b, "%T %v\n", x, x.(coordinator.SourceEnded).Execution.Subtask)
	}
	for i, g := range f.Graph(r.now).Regions {
		if g.Running != f.Regions[i].Adopt || (g.Failure != nil) != f.Regions[i].Failure || len(g.Executions) != len(f.Regions[i].Found) {
			fmt.Fprintf(b, "BUG: the execution graph is told %+v of region %d\n", g, i)
		}
	}
}

func TestCore(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		r := &transcript{}
		datadriven.RunTest(t, path, r.run)
	})
}
