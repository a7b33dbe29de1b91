package jobtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

// Options of a Run.
type Options struct {
	Plan    *metapb.Plan
	Program func() (*task.Program, error)
	// Parallelism of the job, by incarnation; the last one counts for all that follow.
	Parallelism []int
	// Checkpoints is how many checkpoints an incarnation takes before it is given up and
	// restored from the last of them, by incarnation; the one beyond the list runs to the
	// end of the job without any but the terminal one.
	Checkpoints []int
}

// Result is what a job came to.
type Result struct {
	Results []*metapb.Result
	Took    time.Duration // of the last incarnation, from deployment to the last commit
	// Restores is how many snapshots were restored while records were left to read.
	Restores int
}

// Run runs the job to its end and fails the test if that fails.
func Run(t testing.TB, o Options) Result {
	t.Helper()
	r, err := run(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Err is Run for a job that is to fail: it returns what it fails with.
func Err(t testing.TB, o Options) error {
	t.Helper()
	_, err := run(t, o)
	return err
}

func run(t testing.TB, o Options) (Result, error) {
	store := objstore.NewMemory(t.Name())
	var last *metapb.CheckpointMetadata
	var ids restore.StateIDs
	var res Result
	for n := 0; ; n++ {
		graph, err := job.NewGraph(o.Plan, o.Parallelism[min(n, len(o.Parallelism)-1)])
		if err != nil {
			return res, err
		}
		ids = restore.AllocateStateIDs(ids, o.Plan)
		in := &incarnation{
			t: t, o: o, n: job.Incarnation(n + 1), graph: graph, ids: ids.IDs, store: store,
			events: make(chan any, 1024), took: time.Now(),
		}
		if n < len(o.Checkpoints) {
			in.checkpoints = o.Checkpoints[n]
		}
		if last != nil {
			in.id = stream.CheckpointID(last.CheckpointId)
		}
		terminal, err := in.run(last)
		if err != nil {
			return res, err
		}
		if terminal {
			res.Took = time.Since(in.took)
			res.Results, err = results(in.done)
			return res, err
		}
		last = in.done
		if slices.ContainsFunc(last.Operators, hasSplits) {
			res.Restores++
		}
	}
}

// hasSplits reports whether a source has records left.
func hasSplits(op *metapb.OperatorSnapshot) bool {
	return slices.ContainsFunc(op.Subtasks, func(s *metapb.SubtaskSnapshot) bool {
		return slices.ContainsFunc(s.OperatorStates, func(st *metapb.OperatorState) bool {
			return st.Name == "weir.splits" && len(st.Entries) > 0
		})
	})
}

func results(m *metapb.CheckpointMetadata) ([]*metapb.Result, error) {
	var parts []*metapb.Result
	for _, op := range m.Operators {
		for _, s := range op.Subtasks {
			parts = append(parts, s.Results...)
		}
	}
	return job.MergeResults(parts)
}

// incarnation is one deployment of the job.
type incarnation struct {
	t           testing.TB
	o           Options
	n           job.Incarnation
	graph       *job.Graph
	ids         []*metapb.StateID
	store       *objstore.Memory
	checkpoints int // to take before giving up; 0 = run to the end
	took        time.Time

	tasks  []*task.Task
	events chan any // messages of tasks, error of a Run
	closed sync.WaitGroup

	// Of the loop.
	id      stream.CheckpointID
	pending *metapb.CheckpointMetadata
	acks    int
	running int // subtasks
	ended   int // sources
	final   bool
	done    *metapb.CheckpointMetadata
}

// run ends with the job (terminal) or with the last checkpoint wanted.
func (in *incarnation) run(from *metapb.CheckpointMetadata) (terminal bool, err error) {
	if err := in.deploy(from); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(in.t.Context())
	for _, t := range in.tasks {
		in.closed.Go(func() {
			if err := t.Run(ctx); err != nil {
				in.events <- err
			}
		})
	}
	defer func() {
		cancel()
		go func() { // nobody reads events any more
			for range in.events {
			}
		}()
		in.closed.Wait()
		close(in.events)
	}()
	for e := range in.events {
		over, err := in.handle(e)
		if err != nil {
			return false, err
		}
		if over {
			if in.final {
				in.closed.Wait()
			}
			return in.final, nil
		}
	}
	return false, errors.New("no more events")
}

// deploy makes all tasks.
func (in *incarnation) deploy(from *metapb.CheckpointMetadata) error {
	const me = "only"
	log := slog.New(slog.DiscardHandler)
	network, err := exchange.NewNetwork(exchange.NetworkOptions{Cluster: "test", Log: log})
	if err != nil {
		return err
	}
	in.t.Cleanup(func() { network.Close() })
	where := map[job.SubtaskID]exchange.Location{}
	for _, s := range in.graph.Subtasks() {
		where[s] = exchange.Location{Worker: me, Machine: me}
	}
	fabric, err := network.NewFabric(exchange.FabricOptions{
		Incarnation: in.n, Secret: []byte("secret"), Graph: in.graph, Locations: where, Worker: me,
	})
	if err != nil {
		return err
	}
	in.t.Cleanup(func() { fabric.Close() })
	starts, err := restore.Plan(from, in.graph, restore.Options{})
	if err != nil {
		return err
	}
	for _, s := range starts {
		program, err := in.o.Program()
		if err != nil {
			return err
		}
		o := task.Options{
			Graph: in.graph, Subtask: s.ID, Program: program, Attempt: job.Attempt{Epoch: 1, N: uint32(in.n)},
			Incarnation: in.n, Fabric: fabric, NewBackend: in.backend, StateIDs: in.ids, Store: in.store,
			Restored: restored(s), Reporter: (*reporter)(in), JobName: in.o.Plan.Name,
		}
		if from != nil {
			o.RestoredCheckpoint = stream.CheckpointID(from.CheckpointId)
		}
		t, err := task.New(o)
		if err != nil {
			return err
		}
		in.tasks = append(in.tasks, t)
	}
	return nil
}

func (in *incarnation) backend(c task.BackendConfig) (task.Backend, error) {
	return heap.New(heap.Options{Table: c.Table, Runs: runlist.Options{
		Dir: in.t.TempDir(), Store: in.store, Attempt: c.Attempt.String(), Operator: c.UID, Subtask: c.Subtask.Index,
	}})
}

func restored(s restore.Subtask) []*weirpb.RestoredOperator {
	var all []*weirpb.RestoredOperator
	for _, op := range s.Operators {
		r := &weirpb.RestoredOperator{
			Uid: op.UID, OperatorStates: op.States, Ended: op.Ended == restore.EndedAll, Results: op.Results, Watermark: op.Watermark, Owned: op.Owned,
		}
		for _, k := range op.Keyed {
			r.Keyed = append(r.Keyed, &weirpb.RestoredKeyed{
				FirstGroup: uint32(k.Range.First), LastGroup: uint32(k.Range.Last), Runs: k.Runs, Schemas: k.Schemas,
			})
		}
		all = append(all, r)
	}
	return all
}

// handle does what the coordinator would; over: the incarnation has done its work.
func (in *incarnation) handle(e any) (over bool, err error) {
	switch e := e.(type) {
	case error:
		return false, e
	case *weirpb.SubtaskStatus:
		if e.State == weirpb.SubtaskStatus_STATE_RUNNING {
			in.running++
		}
	case *weirpb.CheckpointDecline:
		return false, fmt.Errorf("checkpoint %d declined: %s", e.CheckpointId, e.Reason)
	case *weirpb.SourceEnded:
		in.ended++
	case *weirpb.CheckpointAck:
		if over, err := in.ack(e); over || err != nil {
			return over, err
		}
	}
	if in.running == len(in.tasks) && in.pending == nil && !in.final {
		in.trigger()
	}
	return false, nil
}

func (in *incarnation) sources() (n int) {
	for _, v := range in.graph.Vertices {
		if in.graph.Head(v.ID).Kind == metapb.OperatorKind_OPERATOR_KIND_SOURCE {
			n += v.Parallelism
		}
	}
	return n
}

// trigger begins a checkpoint, if it is time for one.
func (in *incarnation) trigger() {
	kind := stream.CheckpointBarrier
	switch {
	case in.checkpoints > 0:
	case in.ended == in.sources():
		kind, in.final = stream.TerminalBarrier, true
	default:
		return
	}
	in.id++
	in.acks = 0
	in.pending = &metapb.CheckpointMetadata{FormatVersion: 1, CheckpointId: uint64(in.id), Kind: uint32(kind)}
	for _, t := range in.tasks {
		if in.graph.IsRoot(t.Subtask().Vertex) {
			t.Post(task.Command{Kind: task.Inject, Barrier: stream.Barrier{ID: in.id, Kind: kind}})
		}
	}
}

func (in *incarnation) ack(a *weirpb.CheckpointAck) (over bool, err error) {
	if in.pending == nil || a.CheckpointId != in.pending.CheckpointId {
		return false, fmt.Errorf("ack of checkpoint %d, pending is %v", a.CheckpointId, in.pending)
	}
	for _, op := range a.Operators {
		i := slices.IndexFunc(in.pending.Operators, func(o *metapb.OperatorSnapshot) bool { return o.Uid == op.Uid })
		if i < 0 {
			in.pending.Operators = append(in.pending.Operators, op)
			continue
		}
		in.pending.Operators[i].Subtasks = append(in.pending.Operators[i].Subtasks, op.Subtasks...)
	}
	if in.acks++; in.acks < len(in.tasks) {
		return false, nil
	}
	in.done, in.pending = in.pending, nil
	in.done.StateIds = in.ids
	for _, op := range in.done.Operators {
		slices.SortFunc(op.Subtasks, func(a, b *metapb.SubtaskSnapshot) int { return cmp.Compare(a.Index, b.Index) })
	}
	for _, t := range in.tasks {
		t.Post(task.Command{Kind: task.Completed, ID: in.id, Terminal: in.final})
	}
	if in.final {
		return true, nil
	}
	in.checkpoints--
	return in.checkpoints == 0, nil
}

// reporter hands what tasks say to the loop.
type reporter incarnation

func (r *reporter) Status(s *weirpb.SubtaskStatus)      { r.events <- s }
func (r *reporter) Ack(a *weirpb.CheckpointAck)         { r.events <- a }
func (r *reporter) Decline(d *weirpb.CheckpointDecline) { r.events <- d }
func (r *reporter) Committed(*weirpb.Committed)         {}
func (r *reporter) SourceEnded(e *weirpb.SourceEnded)   { r.events <- e }
