package execgraph

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// planOf reads a plan: one operator a line, "uid source|op|sink [parallelism] [<input …]".
func planOf(d *datadriven.TestData) *metapb.Plan {
	plan := &metapb.Plan{}
	index := map[string]uint32{}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		op := &metapb.Operator{Uid: f[0], Kind: map[string]metapb.OperatorKind{
			"source": metapb.OperatorKind_OPERATOR_KIND_SOURCE, "op": metapb.OperatorKind_OPERATOR_KIND_TRANSFORM, "sink": metapb.OperatorKind_OPERATOR_KIND_SINK,
		}[f[1]]}
		for _, a := range f[2:] {
			if from, ok := strings.CutPrefix(a, "<"); ok {
				op.Inputs = append(op.Inputs, &metapb.Input{From: index[from], Distribution: metapb.Distribution_DISTRIBUTION_HASH})
				continue
			}
			fmt.Sscan(a, &op.Parallelism)
		}
		index[f[0]] = uint32(len(plan.Operators))
		plan.Operators = append(plan.Operators, op)
	}
	return plan
}

// transcript drives a graph. Attempts and incarnations in events are those of the
// present executions unless a=… says otherwise.
type transcript struct {
	t     *testing.T
	g     *Graph
	start time.Time
	now   time.Time
}

func (r *transcript) run(t *testing.T, d *datadriven.TestData) string {
	str := func(key string) (v string) {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &v)
		}
		return v
	}
	var id uint64
	if d.HasArg("id") {
		d.ScanArgs(t, "id", &id)
	}
	switch d.Cmd {
	case "new":
		return r.fresh(t, d)
	case "wait":
		after, err := time.ParseDuration(str("for"))
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		r.now = r.now.Add(after)
		return r.step(Tick{})
	case "schedule":
		return r.step(Schedule{})
	case "adopt":
		return r.adopt(t, d, str)
	case "slots":
		e := SlotsGranted{Number: r.g.requests}
		if d.HasArg("number") {
			d.ScanArgs(t, "number", &e.Number)
		}
		if d.HasArg("free") {
			d.ScanArgs(t, "free", &e.Free)
		}
		for s := range strings.SplitSeq(str("on"), "/") {
			e.TaskManagers = append(e.TaskManagers, strings.Trim(s, "-"))
		}
		return r.step(e)
	case "lost":
		return r.step(TaskManagerLost{str("tm"), "its stream broke"})
	case "started":
		return r.step(WorkerStarted{TaskManager: str("tm"), ID: id, Data: str("tm") + ":1"})
	case "exited":
		e := WorkerExited{TaskManager: str("tm"), ID: id, Reason: "signal: killed", UserError: d.HasArg("user")}
		for _, s := range r.g.Job().Subtasks() {
			if slices.Contains(strings.Split(str("stuck"), "/"), s.String()) {
				e.Stuck = append(e.Stuck, s)
			}
		}
		return r.step(e)
	case "snapshot":
		return r.step(SnapshotReady{r.g.restores, strings.ReplaceAll(str("problem"), "|", "\n")})
	case "persisted":
		number := r.g.incarnation
		if d.HasArg("number") {
			d.ScanArgs(t, "number", (*uint64)(&number))
		}
		return r.step(IncarnationPersisted{number, str("problem")})
	case "rescale":
		p := 2
		d.ScanArgs(t, "p", &p)
		g, err := job.NewGraph(r.g.graph.Plan, p)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return r.step(Rescale{g})
	case "now":
		return r.step(RescaleNow{})
	case "status":
		return r.status(t, d, str)
	case "cancel":
		return r.step(CancelJob{})
	case "fail":
		return r.step(FailRegions{"4 checkpoints failed one after the other"})
	case "result":
		return r.step(ResultPersisted{map[string]JobState{"FINISHED": Finished, "FAILED": Failed, "CANCELED": Canceled}[str("state")]})
	case "show":
		return r.show()
	}
	d.Fatalf(t, "unknown command")
	return ""
}

func (r *transcript) fresh(t *testing.T, d *datadriven.TestData) string {
	parallelism := 2
	if d.HasArg("p") {
		d.ScanArgs(t, "p", &parallelism)
	}
	g, err := job.NewGraph(planOf(d), parallelism)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	policy := job.DefaultRestart
	if d.HasArg("none") {
		policy = job.RestartPolicy{Kind: job.NoRestart}
	}
	if d.HasArg("fixed") {
		policy = job.RestartPolicy{Kind: job.FixedDelay, Delay: time.Second}
		d.ScanArgs(t, "fixed", &policy.Attempts)
	}
	s := Start{Graph: g}
	if d.HasArg("incarnation") {
		var n uint64
		d.ScanArgs(t, "incarnation", &n)
		s.Incarnation = job.Incarnation(n)
	}
	if d.HasArg("deployed") {
		p := 0
		d.ScanArgs(t, "deployed", &p)
		if s.Deployed, err = job.NewGraph(g.Plan, p); err != nil {
			d.Fatalf(t, "%v", err)
		}
	}
	r.g, r.start = New(Config{Epoch: 7, Restart: policy}, s), time.Unix(1000, 0)
	r.now = r.start
	return r.show()
}

// adopt takes a line for each region: "running|down|failed|lost|fatal reason [subtask=state@tm …]".
func (r *transcript) adopt(t *testing.T, d *datadriven.TestData, str func(string) string) string {
	e := Adopt{Slots: strings.Split(str("slots"), "/")}
	for i, tm := range e.Slots {
		if e.Slots[i] = strings.Trim(tm, "-"); e.Slots[i] != "" {
			e.Workers = append(e.Workers, Worker{TaskManager: tm, ID: uint64(3 + i), Ready: true})
		}
	}
	states := map[string]ExecutionState{"deploying": Deploying, "running": TaskRunning, "canceled": TaskCanceled, "failed": TaskFailed, "finished": TaskFinished}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		found := Found{Running: f[0] == "running", Reason: strings.ReplaceAll(f[1], "_", " "), Lost: f[0] == "lost", Fatal: f[0] == "fatal"}
		if f[0] != "running" && f[0] != "down" {
			found.Failure = &Failure{Time: r.now, Cause: found.Reason}
		}
		for _, x := range f[2:] {
			name, at, _ := strings.Cut(x, "=")
			state, tm, _ := strings.Cut(at, "@")
			for _, s := range r.g.Job().Subtasks() {
				if s.String() == name {
					found.Executions = append(found.Executions, Execution{
						Subtask: s, State: states[state], Attempt: job.Attempt{Epoch: 6, N: 5}, Incarnation: 5, TaskManager: tm, Worker: uint64(3 + slices.Index(e.Slots, tm)),
					})
				}
			}
		}
		e.Regions = append(e.Regions, found)
	}
	return r.step(e)
}

// status sends one status for each subtask of s=v0[1],v1 (all of the vertex).
func (r *transcript) status(t *testing.T, d *datadriven.TestData, str func(string) string) string {
	state := map[string]ExecutionState{
		"init": Initializing, "running": TaskRunning, "finished": TaskFinished, "canceled": TaskCanceled, "failed": TaskFailed,
	}[str("state")]
	var out strings.Builder
	for _, s := range r.g.Job().Subtasks() {
		name := s.String()
		if !d.HasArg("all") && !slices.Contains(strings.Split(str("s"), "/"), name) {
			continue
		}
		x, _ := r.g.Execution(s)
		e := Status{Subtask: s, Attempt: x.Attempt, Incarnation: x.Incarnation, State: state, Failure: str("why"), Fatal: d.HasArg("fatal")}
		if d.HasArg("old") {
			e.Attempt.N--
			e.Incarnation--
		}
		out.WriteString(r.step(e))
	}
	return out.String()
}

func (r *transcript) step(e Event) string {
	var b strings.Builder
	for _, f := range r.g.Step(r.now, e, nil) {
		fmt.Fprintln(&b, r.effect(f))
	}
	return b.String()
}

func (r *transcript) effect(f Effect) string {
	name := func(xs []Execution) string {
		var all []string
		for _, x := range xs {
			all = append(all, fmt.Sprintf("%v@%s/%d", x.Subtask, x.TaskManager, x.Worker))
		}
		return strings.Join(all, " ")
	}
	switch f := f.(type) {
	case Deploy:
		return fmt.Sprintf("Deploy incarnation %d attempt %v: %s", f.Incarnation, f.Attempt, name(f.Executions))
	case Adopted:
		return fmt.Sprintf("Adopted %s", name(f.Executions))
	case PersistIncarnation:
		line := fmt.Sprintf("PersistIncarnation %d attempt %v restarts %d slots %q regions", f.Number, f.Attempt, f.Restarts, f.Slots)
		for _, r := range f.Regions {
			line += fmt.Sprintf(" %d/%v", r.Incarnation, r.Attempt)
		}
		return line
	case AttemptsLost:
		return fmt.Sprintf("AttemptsLost %s: %s", name(f.Executions), f.Reason)
	case AttemptRunning:
		return fmt.Sprintf("AttemptRunning %s", name([]Execution{f.Execution}))
	case SetTimer:
		if f.At.IsZero() {
			return "SetTimer off"
		}
		return fmt.Sprintf("SetTimer in %v", f.At.Sub(r.now))
	case StateChanged:
		return fmt.Sprintf("StateChanged %v -> %v", f.From, f.To)
	case RegionFailed:
		return fmt.Sprintf("RegionFailed %s restart in %v, given up %v", failure(f.Failure), f.Delay, f.GivenUp)
	case WorkerKilled:
		return "WorkerKilled " + failure(f.Failure)
	case JobTerminal:
		return fmt.Sprintf("JobTerminal %v %q", f.State, f.Failure.Cause)
	case RequestSlots:
		s := fmt.Sprintf("RequestSlots %d: %d, have %q", f.Number, f.N, f.Have)
		if f.Wanted > f.N {
			s += fmt.Sprintf(", would use %d", f.Wanted)
		}
		return s
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", f, f), "execgraph.")
}

// failure is whose it is, its cause and its detail.
func failure(f Failure) string {
	line := fmt.Sprintf("%q", f.Cause)
	if f.Detail != "" {
		line += fmt.Sprintf(" (%q)", f.Detail)
	}
	switch {
	case f.Subtask != nil:
		return line + " of " + f.Subtask.String()
	case f.TaskManager != "":
		return line + " of all on " + f.TaskManager
	}
	return line
}

func (r *transcript) show() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v at %v, %d restarts\n", r.g.state, r.now.Sub(r.start), r.g.restarts)
	for _, reg := range r.g.regions {
		fmt.Fprintf(&b, "region %d %v:", reg.index, reg.phase)
		for _, x := range r.g.of(reg) {
			fmt.Fprintf(&b, " %v=%v", x.Subtask, x.State)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestStep(t *testing.T) {
	datadriven.Walk(t, "testdata/step", func(t *testing.T, path string) {
		r := &transcript{t: t}
		datadriven.RunTest(t, path, r.run)
	})
}

// TestTransitionTables holds the tables to their golden text: a change is seen.
func TestTransitionTables(t *testing.T) {
	datadriven.RunTest(t, "testdata/tables.txt", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		switch d.Cmd {
		case "job":
			for s := Created; s <= Canceled; s++ {
				fmt.Fprintf(&b, "%v: %v\n", s, jobEdges[s])
			}
		case "region":
			for p := regionIdle; p <= regionStopped; p++ {
				fmt.Fprintf(&b, "%v: %v\n", p, regionEdges[p])
			}
		}
		return b.String()
	})
}
