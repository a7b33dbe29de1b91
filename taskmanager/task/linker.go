package task

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
)

// Linker is what Operator.Link is given to connect one operator to the rest of its
// subtask. It may be kept by nobody.
type Linker struct {
	t  *Task
	in *instance
}

// instance is one operator of the chain.
type instance struct {
	number   int32 // in the chain, 0 = head
	index    int   // in the plan
	plan     *metapb.Operator
	restored *weirpb.RestoredOperator // empty if there is none
	setup    *operator.Setup
	receiver any            // Receiver[T] or KeyedReceiver[T]; nil for heads that make records
	ports    map[uint32]any // receivers of inputs on other ports than 0
	ended    bool

	// Of event time; see eventtime.go.
	next    []*instance       // chained to it
	outputs []exchange.Output // of its own
	keeper  operator.TimeKeeper
	async   operator.Asynchronous
	listen  []operator.WatermarkListener
	resume  []operator.WatermarkResumer
	flush   []operator.Flusher
	reached int64 // watermark that its consumers were told
	idle    bool  // a keeper: they were told that nothing comes
	told    bool  // a keeper: they were told something

	open     []operator.Opener
	close    []operator.Closer
	prepare  []operator.Preparer
	commit   []operator.Committer
	snapshot []operator.Snapshotter
	end      []func() (done bool, err error)
}

// Runtime is shared by all operators of the subtask.
func (l *Linker) Runtime() *operator.Runtime { return l.t.rt }

// Number is the operator's number in the chain, for Runtime.Operator.
func (l *Linker) Number() int32 { return l.in.number }

// UID is the operator's.
func (l *Linker) UID() string { return l.in.plan.Uid }

// Position returns a function that says where the source of the subtask reads; "" if it
// has none.
func (l *Linker) Position() func() string {
	t := l.t
	return func() string {
		if t.head == nil {
			return ""
		}
		return t.head.position()
	}
}

// Restored reports whether the snapshot that the job starts from holds the operator.
func (l *Linker) Restored() bool { return l.in.restored.Uid != "" }

// Setup returns the Setup of the operator, always the same; k counts at the first
// call. Only the head of a chain can be keyed.
func (l *Linker) Setup(k operator.KeyInfo) *operator.Setup {
	in, t := l.in, l.t
	if in.setup != nil {
		return in.setup
	}
	o := operator.SetupOptions{
		UID: in.plan.Uid, Key: k, Types: t.o.Program.Types, Runtime: t.rt, Declared: in.plan.States,
		States: in.restored.GetOperatorStates(), Results: in.restored.GetResults(),
		Owned: in.restored.GetOwned(), OwnedStore: t.ownedStore(),
		StateID: func(name string) statebackend.StateID { return t.stateID(in.plan.Uid, name) },
	}
	if k.Keyed {
		if err := t.openBackend(in, k); err != nil {
			t.linkFailed(err)
			o.Store = table.New(table.Options{Range: stream.AllKeyGroups, KeyWidth: k.Width}) // of an attempt that never runs
		} else {
			o.Store = t.backend.Store()
		}
	}
	in.setup = operator.NewSetup(o)
	return in.setup
}

func (t *Task) stateID(uid, name string) statebackend.StateID {
	for _, id := range t.o.StateIDs {
		if id.Uid == uid && id.Name == name {
			return statebackend.StateID(id.Id)
		}
	}
	return 0
}

func (t *Task) openBackend(in *instance, k operator.KeyInfo) error {
	switch {
	case in.number != 0:
		return operator.Fatal(fmt.Errorf("operator %q is keyed but is number %d of its chain: only a head gets records by key", in.plan.Uid, in.number))
	case t.o.NewBackend == nil:
		return fmt.Errorf("operator %q is keyed, but there is no state backend", in.plan.Uid)
	}
	b, err := t.o.NewBackend(BackendConfig{
		UID: in.plan.Uid, Subtask: t.o.Subtask, Attempt: t.o.Attempt,
		Table: table.Options{
			Range:    stream.RangeOf(t.o.Subtask.Index, t.rt.Parallelism),
			KeyWidth: k.Width, KeyLen: k.Len, Fail: t.rt.Fail,
		},
	})
	if err != nil {
		return fmt.Errorf("open keyed state of operator %q: %w", in.plan.Uid, err)
	}
	t.backend = b
	return nil
}

// linkFailed keeps the first mistake of linking.
func (t *Task) linkFailed(err error) {
	if t.linkErr == nil {
		t.linkErr = err
	}
}

// Out returns where the operator's results go: to the operators chained to it, to
// other subtasks, or nowhere. Called once.
func Out[T any](l *Linker) *operator.Collector[T] {
	t := l.t
	var next operator.FanOut[T]
	receivers, uids := l.receivers("")
	for i, r := range receivers {
		if receiver, ok := r.(operator.Receiver[T]); ok {
			next = append(next, receiver)
			continue
		}
		t.linkFailed(operator.Fatal(fmt.Errorf("operator %q emits %v, but %q receives %T", l.UID(), reflect.TypeFor[T](), uids[i], r)))
	}
	return operator.NewCollector(t.rt, l.in.number, next.Whole())
}

// receivers are those of the operator's output, or of a side output, and the operators
// that they lead to.
func (l *Linker) receivers(side string) (all []any, uids []string) {
	t := l.t
	for _, in := range t.chain[l.in.number+1:] {
		if t.chained(in, l.in.index) && in.plan.Inputs[0].Side == side {
			all, uids = append(all, in.receiver), append(uids, in.plan.Uid)
			l.in.next = append(l.in.next, in)
		}
	}
	for _, e := range t.vertex.Outputs {
		edge := t.o.Graph.Edges[e]
		if edge.FromOperator != l.in.index {
			continue
		}
		to := t.o.Graph.Plan.Operators[edge.ToOperator]
		if to.Inputs[edge.Input].Side != side {
			continue
		}
		out, err := t.openOutput(e, edge)
		if err != nil {
			t.linkFailed(fmt.Errorf("connect operator %q to %q: %w", l.UID(), to.Uid, err))
			continue
		}
		l.in.outputs = append(l.in.outputs, out)
		all, uids = append(all, out), append(uids, to.Uid)
	}
	return all, uids
}

// chained reports whether in, which is no head, gets its records from the plan's
// operator from.
func (t *Task) chained(in *instance, from int) bool {
	return len(in.plan.Inputs) == 1 && int(in.plan.Inputs[0].From) == from
}

func (t *Task) openOutput(index int, edge job.Edge) (exchange.Output, error) {
	if t.o.Fabric == nil {
		return nil, fmt.Errorf("subtask %v has an output but no fabric", t.o.Subtask)
	}
	e := t.o.Program.Operators[edge.ToOperator].Inputs[edge.Input]
	out, err := t.o.Fabric.Output(t.o.Subtask, index, e, t.rt, t.wakeUp)
	if err != nil {
		return nil, err
	}
	t.outputs = append(t.outputs, out)
	return out, nil
}

// In says that r receives the operator's records.
func In[T any](l *Linker, r operator.Receiver[T]) { l.in.receiver = r }

// InKeyed says that r receives the operator's records with the hash of their key.
func InKeyed[T any](l *Linker, r operator.KeyedReceiver[T]) { l.in.receiver = r }

// InPort is In, or InKeyed, for the inputs on another port than 0: r receives those
// records.
func InPort(l *Linker, port uint32, r any) {
	if l.in.ports == nil {
		l.in.ports = map[uint32]any{}
	}
	l.in.ports[port] = r
}

// Lifecycle registers whichever of operator.Opener, Closer, Preparer, Committer,
// Snapshotter, Flusher, TimeKeeper, WatermarkListener, WatermarkResumer, Asynchronous, Ender
// and StepEnder x implements, under the operator's name. It may be
// called several times for an operator.
func (l *Linker) Lifecycle(x any) {
	in := l.in
	if v, ok := x.(operator.Opener); ok {
		in.open = append(in.open, v)
	}
	if v, ok := x.(operator.Closer); ok {
		in.close = append(in.close, v)
	}
	if v, ok := x.(operator.Preparer); ok {
		in.prepare = append(in.prepare, v)
	}
	if v, ok := x.(operator.Committer); ok {
		in.commit = append(in.commit, v)
	}
	if v, ok := x.(operator.Snapshotter); ok {
		in.snapshot = append(in.snapshot, v)
	}
	if v, ok := x.(operator.Flusher); ok {
		in.flush = append(in.flush, v)
	}
	if v, ok := x.(operator.WatermarkListener); ok {
		in.listen = append(in.listen, v)
	}
	if v, ok := x.(operator.WatermarkResumer); ok {
		in.resume = append(in.resume, v)
	}
	if v, ok := x.(operator.TimeKeeper); ok {
		in.keeper = v
	}
	if v, ok := x.(operator.Asynchronous); ok {
		l.asynchronous(v)
	}
	if v, ok := x.(operator.StepEnder); ok {
		in.end = append(in.end, v.EndOfInputStep)
	} else if v, ok := x.(operator.Ender); ok {
		in.end = append(in.end, func() (bool, error) { return true, v.EndOfInput() })
	}
}

// Asynchronous registers the operator as one whose results come later, with its Lifecycle.
// wake is for other goroutines; pass takes what the operator held of event time.
func (l *Linker) Asynchronous() (pass func(stream.Event), wake func()) {
	t, in := l.t, l.in
	return func(e stream.Event) { t.pass(in, e) }, t.wakeUp
}

func (l *Linker) asynchronous(a operator.Asynchronous) {
	l.in.async = a
	l.t.asyncs = append(l.t.asyncs, a)
	for _, in := range l.t.chain[l.in.number+1:] {
		if in.keeper != nil { // a restored request's record is of no split any more
			l.t.linkFailed(operator.Fatal(fmt.Errorf("operator %q gives records their event time in the same subtask behind %q, which asks about them: give it before that, or have a Rebalance in between",
				in.plan.Uid, l.UID())))
		}
	}
}

// OnTimer has f called for each timer that is due, with the key's state current; the
// callee sets its Ctx to the key (KeyCursor.SetTimer). The operator must have declared
// Setup.Timers and Setup.EventTimers.
func (l *Linker) OnTimer(f func(t table.Timer, d operator.TimeDomain) error) {
	if l.in.setup == nil {
		l.t.linkFailed(fmt.Errorf("operator %q has a timer callback but no Setup", l.UID()))
		return
	}
	l.t.timers, l.t.onTimer = l.in.setup.Timers(), f
	l.t.time.timers = l.in.setup.EventTimers()
}

// link makes the chain, from its tail to its head.
func (t *Task) link() error {
	g, o := t.o.Graph, &t.o
	if len(o.Program.Operators) != len(g.Plan.Operators) {
		return fmt.Errorf("program has %d operators, its plan %d", len(o.Program.Operators), len(g.Plan.Operators))
	}
	for n, index := range t.vertex.Operators {
		in := &instance{number: int32(n), index: index, plan: g.Plan.Operators[index], restored: &weirpb.RestoredOperator{}}
		if i := slices.IndexFunc(o.Restored, func(r *weirpb.RestoredOperator) bool { return r.Uid == in.plan.Uid }); i >= 0 {
			in.restored = o.Restored[i]
		}
		in.ended = in.restored.Ended
		t.chain = append(t.chain, in)
	}
	for _, in := range slices.Backward(t.chain) {
		t.rt.Operator = in.number
		err := o.Program.Operators[in.index].Link(&Linker{t, in})
		if err == nil && in.setup != nil {
			err = (&Linker{t, in}).bindSides()
		}
		if err == nil {
			err = t.linkErr
		}
		if err == nil && in.setup != nil {
			// Declarations are the program's; what does not decode is the snapshot's.
			if err = in.setup.Err(); !errors.Is(err, statebackend.ErrCorrupt) {
				err = operator.Fatal(err)
			}
		}
		if err != nil {
			return fmt.Errorf("link operator %q: %w", in.plan.Uid, err)
		}
	}
	return t.openGate()
}

// bindSides connects the operator's side outputs.
func (l *Linker) bindSides() error {
	for _, s := range l.in.setup.Sides() {
		receivers, uids := l.receivers(s.Name)
		if wrong := s.Bind(l.t.rt, l.in.number, receivers); wrong >= 0 {
			return operator.Fatal(fmt.Errorf("side output %q has records of %v, but %q receives %T", s.Name, s.Type, uids[wrong], receivers[wrong]))
		}
	}
	return nil
}

// openGate connects the head to the vertex's inputs, if it has any.
func (t *Task) openGate() error {
	head := t.chain[0]
	if len(t.vertex.Inputs) == 0 {
		if t.head == nil {
			return fmt.Errorf("operator %q has neither inputs nor a source", head.plan.Uid)
		}
		return nil
	}
	if t.o.Fabric == nil {
		return fmt.Errorf("subtask %v has inputs but no fabric", t.o.Subtask)
	}
	edges := make([]exchange.AnyEdge, len(t.vertex.Inputs))
	for i, e := range t.vertex.Inputs {
		n := t.o.Graph.Edges[e].Input
		edges[i] = t.o.Program.Operators[head.index].Inputs[n]
		receiver := head.receiver
		if port := head.plan.Inputs[n].Port; port > 0 {
			receiver = head.ports[port]
		}
		c, err := exchange.NewConsumer(edges[i], t.rt, receiver)
		if err != nil {
			return fmt.Errorf("connect input %d of operator %q: %w", i, head.plan.Uid, err)
		}
		t.consumers = append(t.consumers, c)
	}
	gate, err := t.o.Fabric.Gate(t.o.Subtask, edges, t.wakeUp)
	if err != nil {
		return fmt.Errorf("connect inputs of operator %q: %w", head.plan.Uid, err)
	}
	t.gate = gate
	if t.head == nil {
		t.head = &gateHead{t: t}
	}
	return nil
}
