// Package hatest holds the contract that every implementation of package ha must
// pass, as one function for their tests. It is imported by tests only.
package hatest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Backend is an implementation under test.
type Backend interface {
	ha.KV
	ha.Election
}

const testJob = job.ID("0123456789abcdef0123456789abcdef")

// Run holds b, an empty store, to the contract.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for name, test := range map[string]func(*testing.T, Backend){
		"JobLife":                    jobLife,
		"I1_DeposedLeaderIsFenced":   deposedLeaderIsFenced,
		"I6_IdIsAcceptedOnce":        acceptedOnce,
		"I6_TerminalIsAbsorbing":     terminalIsAbsorbing,
		"EpochsRise":                 epochsRise,
		"StandbyWaits":               standbyWaits,
		"ClusterRecordIsCreatedOnce": clusterOnce,
		"ManyPointers":               manyPointers,
		"OneUnreadableRecord":        unreadable,
		"LateTransaction":            lateTransaction,
		"Disposals":                  disposals,
		"PinsAndFailures":            pinsAndFailures,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func lead(t *testing.T, b Backend, name string) ha.Leadership {
	t.Helper()
	l, err := b.Campaign(t.Context(), &metapb.LeaderRecord{Process: name})
	if err != nil {
		t.Fatalf("campaign of %s: %v", name, err)
	}
	return l
}

func resign(t *testing.T, l ha.Leadership) {
	t.Helper()
	if err := l.Resign(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("resign: %v", err)
	}
}

func accept(t *testing.T, j *ha.Jobs) {
	t.Helper()
	if err := j.Accept(t.Context(), &metapb.JobRecord{JobId: string(testJob), Name: "orders"}); err != nil {
		t.Fatal(err)
	}
}

func jobLife(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	steps := []error{
		j.PutIncarnation(ctx, testJob, &metapb.Incarnation{Number: 1}),
		j.ReserveCheckpointIDs(ctx, testJob, 100),
		j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 9, Path: "chk-9"}, nil),
		j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 10, Path: "chk-10"}, nil),
		j.PutIntent(ctx, testJob, &metapb.Intent{Kind: metapb.Intent_KIND_CANCEL}),
		j.DeletePointers(ctx, testJob, 9),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	s, err := j.Get(ctx, testJob)
	if err != nil {
		t.Fatal(err)
	}
	if s.Record.Name != "orders" || s.Incarnation.Number != 1 || s.CheckpointID != 100 || s.Intent == nil || s.Result != nil {
		t.Fatalf("read back %+v", s)
	}
	if len(s.Pointers) != 1 || s.Pointers[0].CheckpointId != 10 {
		t.Fatalf("pointers %v, want only checkpoint 10", s.Pointers)
	}
	if err := j.PutResult(ctx, testJob, &metapb.JobResult{State: "CANCELED"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Forget(ctx, testJob); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Get(ctx, testJob); !errors.Is(err, ha.ErrNotFound) {
		t.Fatalf("get of a forgotten job: %v, want %v", err, ha.ErrNotFound)
	}
}

func deposedLeaderIsFenced(t *testing.T, b Backend) {
	old := lead(t, b, "a")
	oldJobs := ha.NewJobs(b, old)
	accept(t, oldJobs)
	resign(t, old)
	now := lead(t, b, "b")
	defer resign(t, now)
	err := oldJobs.PutPointer(t.Context(), testJob, &metapb.CheckpointPointer{CheckpointId: 1}, nil)
	if !errors.Is(err, ha.ErrFenced) {
		t.Fatalf("a deposed leader's transaction: %v, want %v", err, ha.ErrFenced)
	}
	s, err := ha.NewJobs(b, now).Get(t.Context(), testJob)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pointers) != 0 {
		t.Fatalf("a deposed leader moved the pointer: %v", s.Pointers)
	}
}

func acceptedOnce(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	again := func() error {
		return j.Accept(ctx, &metapb.JobRecord{JobId: string(testJob), Name: "again"})
	}
	if err := again(); !errors.Is(err, ha.ErrConflict) {
		t.Fatalf("second accept: %v, want %v", err, ha.ErrConflict)
	}
	if err := errors.Join(j.PutResult(ctx, testJob, &metapb.JobResult{State: "FINISHED"}), j.Forget(ctx, testJob)); err != nil {
		t.Fatal(err)
	}
	if err := again(); !errors.Is(err, ha.ErrConflict) {
		t.Fatalf("accept of a forgotten job's id: %v, want %v", err, ha.ErrConflict)
	}
}

func terminalIsAbsorbing(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	if err := j.PutResult(ctx, testJob, &metapb.JobResult{State: "FAILED"}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"result":      j.PutResult(ctx, testJob, &metapb.JobResult{State: "FINISHED"}),
		"incarnation": j.PutIncarnation(ctx, testJob, &metapb.Incarnation{Number: 2}),
		"pointer":     j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 2}, nil),
		"intent":      j.PutIntent(ctx, testJob, &metapb.Intent{}),
	} {
		if !errors.Is(err, ha.ErrConflict) {
			t.Errorf("%s of an ended job: %v, want %v", name, err, ha.ErrConflict)
		}
	}
	s, err := j.Get(ctx, testJob)
	if err != nil || s.Result.State != "FAILED" {
		t.Fatalf("result became %v (%v), want FAILED", s, err)
	}
}

func epochsRise(t *testing.T, b Backend) {
	var last ha.Epoch
	for i := range 3 {
		l := lead(t, b, fmt.Sprint(i))
		if l.Epoch() <= last {
			t.Fatalf("epoch %d after %d", l.Epoch(), last)
		}
		last = l.Epoch()
		rec, epoch, err := b.Leader(t.Context())
		if err != nil || rec.Process != fmt.Sprint(i) || epoch != last {
			t.Fatalf("leader is %v with epoch %d (%v), want process %d, epoch %d", rec, epoch, err, i, last)
		}
		resign(t, l)
		<-l.Lost()
	}
}

func standbyWaits(t *testing.T, b Backend) {
	first := lead(t, b, "a")
	won := make(chan ha.Leadership)
	go func() {
		l, err := b.Campaign(context.WithoutCancel(t.Context()), &metapb.LeaderRecord{Process: "b"})
		if err != nil {
			t.Errorf("campaign of b: %v", err)
		}
		won <- l
	}()
	select {
	case <-won:
		t.Fatal("two leaders at once")
	default:
	}
	resign(t, first)
	second := <-won
	if second.Epoch() <= first.Epoch() {
		t.Fatalf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	resign(t, second)
	ctx, cancel := context.WithCancel(t.Context())
	third := lead(t, b, "c")
	defer resign(t, third)
	cancel()
	if _, err := b.Campaign(ctx, &metapb.LeaderRecord{Process: "d"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled campaign: %v, want %v", err, context.Canceled)
	}
}

func clusterOnce(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j := ha.NewJobs(b, l)
	one, err := j.Cluster(t.Context(), time.UnixMilli(1))
	if err != nil {
		t.Fatal(err)
	}
	two, err := j.Cluster(t.Context(), time.UnixMilli(2))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(one, two) || len(one.Incarnation) != 32 {
		t.Fatalf("cluster records %v and %v", one, two)
	}
}

// manyPointers: more than one transaction holds, deleted and forgotten.
func manyPointers(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	const n = 3 * ha.MaxOps
	var ids []stream.CheckpointID
	for i := range uint64(n) {
		if err := j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: i + 1}, nil); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, stream.CheckpointID(i+1))
	}
	s, err := j.Get(ctx, testJob)
	if err != nil || len(s.Pointers) != n {
		t.Fatalf("%v, want %d pointers", err, n)
	}
	for i, p := range s.Pointers {
		if p.CheckpointId != uint64(i+1) {
			t.Fatalf("pointer %d is that of checkpoint %d: not in order", i, p.CheckpointId)
		}
	}
	if err := j.DeletePointers(ctx, testJob, ids[:n/2]...); err != nil {
		t.Fatal(err)
	}
	if s, err := j.Get(ctx, testJob); err != nil || len(s.Pointers) != n/2 {
		t.Fatalf("%v, want %d pointers", err, n/2)
	}
	if err := errors.Join(j.PutResult(ctx, testJob, &metapb.JobResult{State: "FINISHED"}), j.Forget(ctx, testJob)); err != nil {
		t.Fatal(err)
	}
	if left, err := b.List(ctx, "jobs/"); err != nil || len(left) > 0 {
		t.Fatalf("%d records of a forgotten job are left, %v", len(left), err)
	}
}

// unreadable: records that can't be understood hide no others, and what a newer
// version wrote beside them is no mistake.
func unreadable(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	const damaged, partial = "1", "2"
	if err := b.Commit(ctx, l, ha.Txn{Puts: []ha.Entry{
		{Key: "jobs/" + damaged + "/graph", Value: []byte{0xff}},
		{Key: "jobs/" + partial + "/checkpoint-id", Value: []byte("7")},
		{Key: "jobs/" + string(testJob) + "/rescale", Value: []byte("of a newer version")},
		{Key: "jobs/defaults", Value: []byte("of a newer version")},
	}}); err != nil {
		t.Fatal(err)
	}
	all, err := j.All(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d jobs, %v", len(all), err)
	}
	for _, s := range all {
		if readable := s.ID == testJob; readable != (s.Problem == nil) {
			t.Errorf("job %s: %v", s.ID, s.Problem)
		}
	}
	if _, err := j.Get(ctx, damaged); err == nil || errors.Is(err, ha.ErrNotFound) {
		t.Errorf("get of a damaged job: %v", err)
	}
	if s, err := j.Get(ctx, testJob); err != nil || s.Record.Name != "orders" {
		t.Errorf("get of another: %v, %v", s, err)
	}
}

// disposals belong to no job, outlive leaders, and a late beginning of one does not bring
// it back.
func disposals(t *testing.T, b Backend) {
	first := lead(t, b, "a")
	kv := &lateKV{KV: b}
	j, ctx := ha.NewJobs(kv, first), t.Context()
	op := func(trigger string, state metapb.Operation_State) *metapb.Operation {
		return &metapb.Operation{TriggerId: trigger, Kind: metapb.Operation_KIND_DISPOSAL, State: state, Target: "/sp/" + trigger}
	}
	const begun, done = metapb.Operation_STATE_IN_PROGRESS, metapb.Operation_STATE_COMPLETED
	if err := j.EndDisposal(ctx, op("d1", done), nil); !errors.Is(err, ha.ErrConflict) {
		t.Errorf("end of a disposal that is not on record: %v", err)
	}
	kv.hold = true
	if err := j.PutDisposal(ctx, op("d1", begun)); !errors.Is(err, ha.ErrUnknown) {
		t.Fatalf("a transaction that is held back: %v", err)
	}
	if err := errors.Join(j.PutDisposal(ctx, op("d1", begun)), j.EndDisposal(ctx, op("d1", done), nil), j.PutDisposal(ctx, op("d2", begun))); err != nil {
		t.Fatal(err)
	}
	if err := kv.held[0](); !errors.Is(err, ha.ErrConflict) {
		t.Errorf("late transaction: %v", err)
	}
	resign(t, first)
	if err := j.PutDisposal(ctx, op("d3", begun)); !errors.Is(err, ha.ErrFenced) {
		t.Errorf("a deposed leader's disposal: %v", err)
	}
	second := lead(t, b, "b")
	defer resign(t, second)
	j = ha.NewJobs(b, second)
	all, err := j.Disposals(ctx)
	if err != nil || len(all) != 2 || !proto.Equal(all[0], op("d1", done)) || !proto.Equal(all[1], op("d2", begun)) {
		t.Fatalf("disposals %v, %v", all, err)
	}
	if err := j.EndDisposal(ctx, op("d2", done), []string{"d1"}); err != nil {
		t.Fatal(err)
	}
	if all, err = j.Disposals(ctx); err != nil || len(all) != 1 || !proto.Equal(all[0], op("d2", done)) {
		t.Errorf("disposals %v, %v", all, err)
	}
	if jobs, err := j.All(ctx); err != nil || len(jobs) > 0 {
		t.Errorf("they are taken for jobs: %v, %v", jobs, err)
	}
}

// pinsAndFailures: pins change although the job has ended, as long as there is a pointer;
// failures are recorded of a job that lives.
func pinsAndFailures(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	j, ctx := ha.NewJobs(b, l), t.Context()
	accept(t, j)
	pinned := &metapb.CheckpointPointer{CheckpointId: 1, Pins: []string{"job:x"}}
	if err := j.UpdatePointer(ctx, testJob, pinned); !errors.Is(err, ha.ErrConflict) {
		t.Errorf("pins of no pointer: %v", err)
	}
	failures := []*metapb.FailureRecord{{TimeMs: 1, Cause: "boom"}, {TimeMs: 2, Cause: "again"}}
	if err := errors.Join(
		j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 1}, nil), j.UpdatePointer(ctx, testJob, pinned),
		j.PutFailures(ctx, testJob, failures[:1]), j.PutFailures(ctx, testJob, failures),
		j.PutResult(ctx, testJob, &metapb.JobResult{State: "FINISHED"}),
	); err != nil {
		t.Fatal(err)
	}
	if err := j.PutFailures(ctx, testJob, nil); !errors.Is(err, ha.ErrConflict) {
		t.Errorf("failures of an ended job: %v", err)
	}
	s, err := j.Get(ctx, testJob)
	if err != nil || len(s.Pointers) != 1 || !proto.Equal(s.Pointers[0], pinned) || len(s.Failures) != 2 || !proto.Equal(s.Failures[1], failures[1]) {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := j.UpdatePointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 1}); err != nil {
		t.Fatal(err)
	}
	if s, err = j.Get(ctx, testJob); err != nil || len(s.Pointers[0].Pins) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// lateKV holds transactions back: their results are unknown, and they arrive later.
type lateKV struct {
	ha.KV
	hold  bool
	onGet func() // before the next Get
	held  []func() error
}

func (k *lateKV) Get(ctx context.Context, key string) ([]byte, error) {
	v, err := k.KV.Get(ctx, key)
	if f := k.onGet; f != nil {
		k.onGet = nil
		f()
	}
	return v, err
}

func (k *lateKV) Commit(ctx context.Context, l ha.Leadership, t ha.Txn) error {
	if !k.hold {
		return k.KV.Commit(ctx, l, t)
	}
	k.hold = false
	k.held = append(k.held, func() error { return k.KV.Commit(context.WithoutCancel(ctx), l, t) })
	return ha.ErrUnknown
}

// lateTransaction: one whose client has given up arrives after a later one of the same
// leader. It must not be applied: a counter would go back.
func lateTransaction(t *testing.T, b Backend) {
	l := lead(t, b, "a")
	defer resign(t, l)
	kv := &lateKV{KV: b}
	j, ctx := ha.NewJobs(kv, l), t.Context()
	accept(t, j)
	kv.hold = true
	if err := j.ReserveCheckpointIDs(ctx, testJob, 64); !errors.Is(err, ha.ErrUnknown) {
		t.Fatalf("held transaction: %v", err)
	}
	if err := j.ReserveCheckpointIDs(ctx, testJob, 128); err != nil {
		t.Fatal(err)
	}
	if err := kv.held[0](); !errors.Is(err, ha.ErrConflict) {
		t.Fatalf("late transaction: %v, want %v", err, ha.ErrConflict)
	}
	if s, err := j.Get(ctx, testJob); err != nil || s.CheckpointID != 128 {
		t.Fatalf("reserved %+v, %v, want 128", s, err)
	}
	// It arrives just before the next one, which has looked already.
	kv.hold = true
	if err := j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 1}, nil); !errors.Is(err, ha.ErrUnknown) {
		t.Fatalf("held transaction: %v", err)
	}
	kv.onGet = func() {
		if err := kv.held[1](); err != nil {
			t.Errorf("transaction in its place: %v", err)
		}
	}
	if err := j.PutPointer(ctx, testJob, &metapb.CheckpointPointer{CheckpointId: 2}, nil); err != nil {
		t.Fatal(err)
	}
	if s, err := j.Get(ctx, testJob); err != nil || len(s.Pointers) != 2 {
		t.Fatalf("%+v, %v, want two pointers", s, err)
	}
}
