package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/stream/watermark"
	"github.com/weirstream/weir/taskmanager/align"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/intake"
)

// Task is one attempt of one subtask.
type Task struct {
	// Immutable after New.
	o      Options
	vertex *job.Vertex
	rt     *operator.Runtime
	stop   context.CancelCauseFunc // of rt.Context
	begun  time.Time

	mail     mailbox
	found    atomic.Bool   // a LeaderFound has been posted since the last LeaderLost
	wake     chan struct{} // capacity 1
	meter    meter
	async    sync.WaitGroup // snapshots being written
	returned chan struct{}  // closed when Run returns

	// Everything below belongs to the goroutine of Run.
	phase     phase
	atKey     bool        // a record, a timer or a hook at the end is being handled: a key is current
	chain     []*instance // head first
	linkErr   error       // first mistake of linking
	backend   Backend     // nil if the head is not keyed
	gate      *exchange.Gate
	consumers []intake.Consumer // by input of the vertex
	outputs   []exchange.Output
	asyncs    []operator.Asynchronous // of the chain, tail first
	head      head
	timers    *table.Timers // nil if there is no timer callback
	onTimer   func(table.Timer, operator.TimeDomain) error
	time      eventTime

	aligner    *align.Aligner
	alarm      *time.Timer         // raises Attention when a barrier has waited for long enough
	held       heldBarrier         // that waits in an output, not to overtake yet
	effects    []align.Effect      // scratch
	blocked    []int               // channels
	delayed    []Command           // barriers that came while ending
	terminal   *align.Effect       // a terminal barrier that came before the end was passed on
	silent     stream.CheckpointID // of the stop barrier after which the source rests; 0 = none
	leaderless bool                // no command has come since the leader was lost
	orphaned   stream.CheckpointID // the newest that came meanwhile, and was cancelled
	drained    bool                // a source is to end before its input does
	endAt      int                 // in chain, while ending
	endHook    int

	snapshots []*snapshot // not acked yet, in order
	copying   *snapshot   // the one whose entries are being copied out, or nil
	toWrite   []*snapshot // copied, in order
	writing   *snapshot   // the one whose Finish runs, or nil
	capturing *snapshot   // the one whose records in flight are being captured, or nil
	timer     *time.Timer
	lastTurn  time.Duration // how long the turn before this one took, with its sleep
}

// head is what brings records into the chain.
type head interface {
	// open starts it, before the first step.
	open() error
	// step does one piece of work: an event, a batch or the rest of one. If it had
	// nothing to do, wait is how long that lasts at most (0: until a wake-up).
	step() (progress bool, wait time.Duration, err error)
	// listen is step for a time without room: it takes what brings no records.
	listen() (progress bool, err error)
	// settle pushes on what was begun, so that a barrier may fall.
	settle()
	// activeSplits appends what records are read from; see operator.SplitReader.
	activeSplits(dst []operator.ActiveSplit) []operator.ActiveSplit
	// snapshot brings the splits up to date.
	snapshot() error
	// position is where it reads, for the report of a failure; "" if it can't tell.
	position() string
	// splitName names a split of activeSplits.
	splitName(id int32) string
	close() error
}

// New returns an attempt that is to be Run. Commands may be posted at once.
func New(o Options) (*Task, error) {
	if o.Graph == nil || o.Program == nil || o.Reporter == nil {
		return nil, fmt.Errorf("make subtask %v: graph, program and reporter are needed", o.Subtask)
	}
	if int(o.Subtask.Vertex) >= len(o.Graph.Vertices) || o.Subtask.Index >= o.Graph.Vertices[o.Subtask.Vertex].Parallelism {
		return nil, fmt.Errorf("make subtask %v: the graph has no such subtask", o.Subtask)
	}
	if o.WatermarkInterval <= 0 {
		o.WatermarkInterval = defaultWatermarkInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Task{
		o: o, vertex: &o.Graph.Vertices[o.Subtask.Vertex], begun: o.Now(),
		wake: make(chan struct{}, 1), returned: make(chan struct{}),
	}
	ctx, stop := context.WithCancelCause(context.Background())
	t.stop = stop
	t.rt = &operator.Runtime{
		Context: ctx, Now: o.Now, Turn: t.begun, Counters: t.meter.addCounter,
		Log:     o.Log.With("uid", o.Graph.VertexUID(o.Subtask.Vertex), "subtask", o.Subtask.Index),
		Subtask: o.Subtask.Index, Parallelism: t.vertex.Parallelism,
		JobID: string(o.JobID), JobName: o.JobName, ClusterID: o.ClusterID,
		Attempt: o.Attempt.String(), Incarnation: uint64(o.Incarnation),
		Restored: o.RestoredCheckpoint != 0,
		Time:     operator.NoTime, Watermark: watermark.Min, WatermarkInterval: o.WatermarkInterval,
	}
	t.meter.mark = t.begun
	return t, nil
}

// errCanceled is the cause of the Runtime's context after a Cancel.
var errCanceled = errors.New("the attempt is cancelled")

// Post gives the subtask a command, from any goroutine. Commands are handled in
// order; after the end of Run they are dropped.
func (t *Task) Post(c Command) {
	if c.Kind == Cancel {
		t.stop(errCanceled) // lets go of I/O that user code waits for
	}
	switch c.Kind { // known at once: the leader's next barrier may be faster than the mailbox
	case LeaderLost:
		t.found.Store(false)
	case LeaderFound:
		t.found.Store(true)
	}
	c.posted = t.o.Now()
	t.mail.put(c)
	t.rt.Attention.Store(true)
	t.wakeUp()
}

// wakeUp has the loop look again; from any goroutine.
func (t *Task) wakeUp() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// attend has the loop look up before the next record; from any goroutine.
func (t *Task) attend() {
	t.rt.Attention.Store(true)
	t.wakeUp()
}

// Done is closed when Run has returned: nothing of the attempt runs any more.
func (t *Task) Done() <-chan struct{} { return t.returned }

// Subtask is whose attempt this is.
func (t *Task) Subtask() job.SubtaskID { return t.o.Subtask }

// Run runs the attempt in the calling goroutine to its end: nil when it is FINISHED
// or was cancelled, else what it failed with (a *Failure). The end of ctx cancels.
// It is called once.
func (t *Task) Run(ctx context.Context) error {
	defer close(t.returned)
	defer context.AfterFunc(ctx, func() { t.Post(Command{Kind: Cancel, Reason: "shutting down"}) })()
	t.status(weirpb.SubtaskStatus_STATE_INITIALIZING, nil)
	err := t.guard(t.live)
	var f *Failure
	switch {
	case t.cancelled():
		t.phase.to(phaseCanceled)
	case err != nil:
		f = t.failure(err)
		t.phase.to(phaseFailed)
		t.status(weirpb.SubtaskStatus_STATE_FAILED, f)
	}
	t.stop(errCanceled)
	t.shut()
	t.meter.publish(t)
	switch t.phase {
	case phaseFinished:
		t.status(weirpb.SubtaskStatus_STATE_FINISHED, nil)
	case phaseCanceled:
		t.status(weirpb.SubtaskStatus_STATE_CANCELED, nil)
	default:
		return f
	}
	return nil
}

// cancelled reports whether the attempt is to end early. A finished one is not.
func (t *Task) cancelled() bool {
	return t.phase != phaseFinished && context.Cause(t.rt.Context) == errCanceled
}

// live is the life of the attempt up to its end.
func (t *Task) live() error {
	if err := t.link(); err != nil {
		return err
	}
	o := align.Options{Restored: t.o.RestoredCheckpoint, Mode: t.o.Mode}
	if t.gate != nil {
		o.Channels, o.Overtakes = t.gate.Channels(), t.gate.Overtakes()
	}
	t.aligner = align.New(o)
	if err := t.restore(); err != nil {
		return err
	}
	if err := t.restoreChannels(); err != nil {
		return err
	}
	t.resumeTime()
	if err := t.open(); err != nil {
		return err
	}
	if id := t.o.RestoredCheckpoint; id != 0 {
		if err := t.commit(id); err != nil {
			return err
		}
	}
	if t.cancelled() {
		return nil
	}
	t.phase.to(running)
	if t.o.Stopped {
		t.silent = t.o.RestoredCheckpoint
	}
	t.status(weirpb.SubtaskStatus_STATE_RUNNING, nil)
	t.timer = time.NewTimer(time.Hour)
	defer t.timer.Stop()
	t.alarm = time.AfterFunc(time.Hour, t.attend)
	defer t.alarm.Stop()
	if t.gate != nil {
		t.gate.Attend(t.attend)
	}
	return t.loop()
}

// restore loads keyed state.
func (t *Task) restore() error {
	if t.backend == nil || t.o.RestoredCheckpoint == 0 {
		return nil
	}
	in := t.chain[0]
	var from []statebackend.Restored
	for _, k := range in.restored.Keyed {
		from = append(from, statebackend.Restored{
			Range: stream.KeyGroupRange{First: stream.KeyGroup(k.FirstGroup), Last: stream.KeyGroup(k.LastGroup)},
			Runs:  k.Runs, Schemas: k.Schemas,
		})
	}
	t.rt.Operator = in.number
	if err := t.backend.Restore(t.rt.Context, from); err != nil {
		return fmt.Errorf("restore keyed state of %v: %w", t.o.RestoredCheckpoint, err)
	}
	return nil
}

// open opens the operators, from the tail to the head, so that whoever emits early
// finds its consumer open.
func (t *Task) open() error {
	for _, in := range slices.Backward(t.chain) {
		t.rt.Operator = in.number
		for _, o := range in.open {
			if err := o.Open(); err != nil {
				return fmt.Errorf("open: %w", err)
			}
		}
	}
	t.rt.Operator = 0
	if err := t.head.open(); err != nil {
		return err
	}
	_, err := t.rt.Err()
	return err
}

// commit has everything published that was prepared at or before id.
func (t *Task) commit(id stream.CheckpointID) error {
	for _, in := range t.chain {
		t.rt.Operator = in.number
		for _, c := range in.commit {
			if err := c.Commit(id); err != nil {
				return fmt.Errorf("commit %v: %w", id, err)
			}
		}
	}
	return nil
}

// shut releases everything, whatever state it is in.
func (t *Task) shut() {
	t.async.Wait() // their context is done
	closing := func(what string, f func() error) {
		if err := t.guard(f); err != nil {
			t.rt.Log.Warn("close "+what, "error", err)
		}
	}
	if t.head != nil {
		t.rt.Operator = 0
		closing("source", t.head.close)
	}
	for _, in := range t.chain {
		t.rt.Operator = in.number
		for _, c := range in.close {
			closing("operator "+in.plan.Uid, c.Close)
		}
	}
	if t.backend != nil {
		closing("keyed state", t.backend.Close)
	}
	for _, o := range t.outputs {
		o.Close()
	}
	if t.gate != nil {
		t.gate.Close()
	}
}

// subtask and attempt are what messages carry.
func (t *Task) subtask() *weirpb.SubtaskRef {
	return &weirpb.SubtaskRef{Vertex: uint32(t.o.Subtask.Vertex), Subtask: uint32(t.o.Subtask.Index)}
}

func (t *Task) attempt() *weirpb.Attempt {
	return &weirpb.Attempt{Epoch: t.o.Attempt.Epoch, N: t.o.Attempt.N}
}

func (t *Task) status(s weirpb.SubtaskStatus_State, f *Failure) {
	m := &weirpb.SubtaskStatus{
		Subtask: t.subtask(), Attempt: t.attempt(), Incarnation: uint64(t.o.Incarnation), State: s,
	}
	if f != nil {
		m.Failure, m.FailureDetail, m.FailedUid, m.Fatal = f.Error(), f.Detail(), f.UID, f.Fatal
		if f.Damaged {
			m.DamagedCheckpoint = uint64(t.o.RestoredCheckpoint)
		}
		if p := (*exchange.PeerError)(nil); errors.As(f, &p) {
			m.BlamedWorker = p.Worker
		}
	}
	t.o.Reporter.Status(m)
}
