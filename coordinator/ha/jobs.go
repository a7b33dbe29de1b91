package ha

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Jobs are the records of a cluster's jobs. All methods that change something are
// for the leader whose Leadership was given to NewJobs.
type Jobs struct {
	kv     KV
	lead   Leadership
	chains chains
}

// NewJobs returns the records in kv, changed under lead. A nil lead gives a
// read-only view.
func NewJobs(kv KV, lead Leadership) *Jobs { return &Jobs{kv: kv, lead: lead} }

// Epoch is the epoch of the leader that changes these records.
func (j *Jobs) Epoch() Epoch { return j.lead.Epoch() }

// JobState is everything recorded of one job.
type JobState struct {
	ID           job.ID
	Record       *metapb.JobRecord
	Incarnation  *metapb.Incarnation          // nil before the first deployment
	CheckpointID stream.CheckpointID          // highest reserved
	Pointers     []*metapb.CheckpointPointer  // completed and retained, ascending
	Statistics   *metapb.CheckpointStatistics // nil before the first checkpoint
	Operations   []*metapb.Operation          // by trigger id
	Failures     []*metapb.FailureRecord      // oldest first
	Intent       *metapb.Intent               // nil if none
	Result       *metapb.JobResult            // nil while the job lives
	// Problem says that the records can't be understood; what else stands here is
	// only a part of them. Only All returns such a state.
	Problem error
}

func jobKey(id job.ID, rest string) string { return "jobs/" + string(id) + "/" + rest }

func pointerKey(id job.ID, c stream.CheckpointID) string {
	return jobKey(id, fmt.Sprintf("checkpoints/%020d", uint64(c)))
}

func acceptedKey(id job.ID) string { return "accepted/" + string(id) }

// put encodes a record. The messages are ours, so a failure is a bug.
func put(key string, m proto.Message) Entry {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: marshal %s: %v", key, err))
	}
	return Entry{key, b}
}

// Cluster returns the cluster's record, creating it with a random incarnation if
// this is a new cluster.
func (j *Jobs) Cluster(ctx context.Context, now time.Time) (*metapb.ClusterRecord, error) {
	rec := new(metapb.ClusterRecord)
	for {
		b, err := j.kv.Get(ctx, "cluster")
		if err == nil {
			if err := proto.Unmarshal(b, rec); err != nil {
				return nil, fmt.Errorf("decode cluster record (%d bytes): %w", len(b), err)
			}
			return rec, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("read cluster record: %w", err)
		}
		var id [16]byte
		rand.Read(id[:])
		fresh := &metapb.ClusterRecord{Incarnation: hex.EncodeToString(id[:]), CreatedAtMs: now.UnixMilli()}
		err = j.kv.Commit(ctx, j.lead, Txn{Absent: []string{"cluster"}, Puts: []Entry{put("cluster", fresh)}})
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return nil, fmt.Errorf("create cluster record: %w", err)
		}
	}
}

// Accept records a new job. A job id is accepted once for ever: ErrConflict says
// that it was accepted before.
func (j *Jobs) Accept(ctx context.Context, rec *metapb.JobRecord) error {
	id := job.ID(rec.JobId)
	if err := id.Validate(); err != nil {
		return err
	}
	return j.commit(ctx, id, "accept job "+rec.JobId, Txn{
		Absent: []string{acceptedKey(id), jobKey(id, "graph")},
		Puts:   []Entry{{acceptedKey(id), []byte{1}}, put(jobKey(id, "graph"), rec)},
	})
}

// PutIncarnation records a deployment, before its first Deploy, together with the
// intent's back-off counter if intent is not nil.
func (j *Jobs) PutIncarnation(ctx context.Context, id job.ID, inc *metapb.Incarnation) error {
	return j.commit(ctx, id, fmt.Sprintf("record incarnation %d of job %s", inc.Number, id), j.live(id, Txn{
		Puts: []Entry{put(jobKey(id, "incarnation"), inc)},
	}))
}

// ReserveCheckpointIDs records that ids up to and including upTo may have been used.
func (j *Jobs) ReserveCheckpointIDs(ctx context.Context, id job.ID, upTo stream.CheckpointID) error {
	return j.commit(ctx, id, fmt.Sprintf("reserve checkpoint ids of job %s up to %d", id, upTo), j.live(id, Txn{
		Puts: []Entry{{jobKey(id, "checkpoint-id"), []byte(strconv.FormatUint(uint64(upTo), 10))}},
	}))
}

// PutPointer makes a checkpoint complete: from here on recovery uses it. Statistics
// go with it; nil leaves them as they are.
func (j *Jobs) PutPointer(ctx context.Context, id job.ID, p *metapb.CheckpointPointer, stats *metapb.CheckpointStatistics) error {
	t := Txn{Puts: []Entry{put(pointerKey(id, stream.CheckpointID(p.CheckpointId)), p)}}
	if stats != nil {
		t.Puts = append(t.Puts, put(jobKey(id, "statistics"), stats))
	}
	return j.commit(ctx, id, fmt.Sprintf("complete checkpoint %d of job %s", p.CheckpointId, id), j.live(id, t))
}

// UpdatePointer changes the pins of a pointer that is there, of a job that has ended too.
func (j *Jobs) UpdatePointer(ctx context.Context, id job.ID, p *metapb.CheckpointPointer) error {
	key := pointerKey(id, stream.CheckpointID(p.CheckpointId))
	return j.commit(ctx, id, fmt.Sprintf("change the pins of checkpoint %d of job %s", p.CheckpointId, id), Txn{
		Present: []string{key}, Puts: []Entry{put(key, p)},
	})
}

// PutFailures records what has gone wrong so far.
func (j *Jobs) PutFailures(ctx context.Context, id job.ID, all []*metapb.FailureRecord) error {
	return j.commit(ctx, id, "record failures of job "+string(id), j.live(id, Txn{
		Puts: []Entry{put(jobKey(id, "failures"), &metapb.Failures{Failures: all})},
	}))
}

// PutRecord changes what was accepted: its parallelism, or that what it was restored
// from is not needed any more.
func (j *Jobs) PutRecord(ctx context.Context, id job.ID, rec *metapb.JobRecord) error {
	key := jobKey(id, "graph")
	return j.commit(ctx, id, "change record of job "+string(id), Txn{Present: []string{key}, Puts: []Entry{put(key, rec)}})
}

func operationKey(id job.ID, trigger string) string { return jobKey(id, "operations/"+trigger) }

// PutOperation records what a client was promised, before the first RPC that carries
// it out. ErrConflict: the job has ended.
func (j *Jobs) PutOperation(ctx context.Context, id job.ID, op *metapb.Operation) error {
	return j.commit(ctx, id, fmt.Sprintf("record %v %s of job %s", op.Kind, op.TriggerId, id), j.live(id, Txn{
		Puts: []Entry{put(operationKey(id, op.TriggerId), op)},
	}))
}

// OperationEnd is what is recorded with the end of an operation, in one transaction.
type OperationEnd struct {
	Operation *metapb.Operation
	Pointer   *metapb.CheckpointPointer // without its pin; nil = stays as it is
	Intent    *metapb.Intent            // to cancel the job; nil = none
	Record    *metapb.JobRecord         // with the parallelism of a rescale; nil = stays as it is
	Forget    []string                  // trigger ids of operations that ended long ago
}

// EndOperation records the end of an operation, of a job that has ended too.
func (j *Jobs) EndOperation(ctx context.Context, id job.ID, e OperationEnd) error {
	t := Txn{Present: []string{operationKey(id, e.Operation.TriggerId)}, Puts: []Entry{put(operationKey(id, e.Operation.TriggerId), e.Operation)}}
	if e.Pointer != nil {
		key := pointerKey(id, stream.CheckpointID(e.Pointer.CheckpointId))
		t.Present = append(t.Present, key)
		t.Puts = append(t.Puts, put(key, e.Pointer))
	}
	if e.Intent != nil {
		t.Puts = append(t.Puts, put(jobKey(id, "intent"), e.Intent))
	}
	if e.Record != nil {
		t.Puts = append(t.Puts, put(jobKey(id, "graph"), e.Record))
	}
	for _, trigger := range e.Forget {
		t.Deletes = append(t.Deletes, operationKey(id, trigger))
	}
	return j.commit(ctx, id, fmt.Sprintf("record the end of %v %s of job %s", e.Operation.Kind, e.Operation.TriggerId, id), t)
}

// DeletePointers takes subsumed checkpoints out of the records. Their bytes may go
// only afterwards.
func (j *Jobs) DeletePointers(ctx context.Context, id job.ID, ids ...stream.CheckpointID) error {
	var keys []string
	for _, c := range ids {
		keys = append(keys, pointerKey(id, c))
	}
	return j.deleteAll(ctx, id, fmt.Sprintf("delete %d checkpoint pointers of job %s", len(ids), id), Txn{}, keys)
}

// deleteAll deletes keys under the conditions of t, in as many transactions as it
// takes; after an error some are gone.
func (j *Jobs) deleteAll(ctx context.Context, id job.ID, what string, t Txn, keys []string) error {
	for part := range slices.Chunk(keys, MaxOps-1) { // and the sequence
		t.Deletes = part
		if err := j.commit(ctx, id, what, t); err != nil {
			return err
		}
	}
	return nil
}

// PutIntent records what was promised, before the first RPC that carries it out.
func (j *Jobs) PutIntent(ctx context.Context, id job.ID, in *metapb.Intent) error {
	return j.commit(ctx, id, fmt.Sprintf("record intent %v of job %s", in.Kind, id), j.live(id, Txn{
		Puts: []Entry{put(jobKey(id, "intent"), in)},
	}))
}

// ClearIntent removes the intent when it has been carried out.
func (j *Jobs) ClearIntent(ctx context.Context, id job.ID) error {
	return j.commit(ctx, id, "clear intent of job "+string(id), Txn{Deletes: []string{jobKey(id, "intent")}})
}

// PutResult writes the terminal truth, once, before any clean-up. ErrConflict says
// that the job has ended before (I6).
func (j *Jobs) PutResult(ctx context.Context, id job.ID, r *metapb.JobResult) error {
	return j.commit(ctx, id, fmt.Sprintf("record result %s of job %s", r.State, id), j.live(id, Txn{
		Puts:    []Entry{put(jobKey(id, "result"), r)},
		Deletes: []string{jobKey(id, "intent")},
	}))
}

// UpdateResult notes progress of the clean-up in a result that exists.
func (j *Jobs) UpdateResult(ctx context.Context, id job.ID, r *metapb.JobResult) error {
	key := jobKey(id, "result")
	return j.commit(ctx, id, "update result of job "+string(id), Txn{Present: []string{key}, Puts: []Entry{put(key, r)}})
}

// Forget removes everything recorded of an ended job, except that its id was
// accepted. The bytes it pointed to must be gone, or be somebody else's.
func (j *Jobs) Forget(ctx context.Context, id job.ID) error {
	entries, err := j.kv.List(ctx, jobKey(id, ""))
	if err != nil {
		return fmt.Errorf("list records of job %s: %w", id, err)
	}
	// The pointers go first: what is left at any moment is the record of an ended job.
	var lists, rest []string
	for _, e := range entries {
		field := strings.TrimPrefix(e.Key, jobKey(id, ""))
		switch {
		case strings.Contains(field, "/"):
			lists = append(lists, e.Key)
		case field != sequenceField: // goes with the others, in its own way
			rest = append(rest, e.Key)
		}
	}
	t := Txn{Present: []string{jobKey(id, "result")}}
	if err := j.deleteAll(ctx, id, "forget lists of job "+string(id), t, lists); err != nil {
		return err
	}
	t.Deletes = rest
	return j.forget(ctx, id, "forget job "+string(id), t)
}

// live adds the conditions under which a job may change: it was accepted and has
// not ended (terminal is absorbing, I6).
func (j *Jobs) live(id job.ID, t Txn) Txn {
	t.Present = append(t.Present, jobKey(id, "graph"))
	t.Absent = append(t.Absent, jobKey(id, "result"))
	return t
}

// Get reads everything recorded of one job; ErrNotFound if it is not there.
func (j *Jobs) Get(ctx context.Context, id job.ID) (*JobState, error) {
	entries, err := j.kv.List(ctx, jobKey(id, ""))
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	states := decodeJobs(entries)
	if len(states) == 0 {
		return nil, fmt.Errorf("read job %s: %w", id, ErrNotFound)
	}
	return states[0], states[0].Problem
}

// All reads every job, by id. One that can't be understood has a Problem; it does
// not hide the others.
func (j *Jobs) All(ctx context.Context) ([]*JobState, error) {
	entries, err := j.kv.List(ctx, "jobs/")
	if err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	return decodeJobs(entries), nil
}

func decodeJobs(entries []Entry) []*JobState {
	var states []*JobState
	byID := map[string]*JobState{}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Key, "jobs/")
		id, field, ok2 := strings.Cut(rest, "/")
		if !ok || !ok2 {
			continue // not a job's: a newer version's
		}
		s := byID[id]
		if s == nil {
			s = &JobState{ID: job.ID(id)}
			byID[id] = s
			states = append(states, s)
		}
		if err := s.decode(field, e.Value); err != nil {
			s.Problem = errors.Join(s.Problem, fmt.Errorf("decode %s (%d bytes): %w", e.Key, len(e.Value), err))
		}
	}
	for _, s := range states {
		switch {
		case s.Record == nil:
			s.Problem = errors.Join(s.Problem, fmt.Errorf("job %s has records but no graph: the store was edited or restored in part", s.ID))
		case s.Record.JobId != string(s.ID):
			s.Problem = errors.Join(s.Problem, fmt.Errorf("job %s: its record is that of job %q", s.ID, s.Record.JobId))
		}
	}
	return states
}

func (s *JobState) decode(field string, b []byte) error {
	switch {
	case field == "graph":
		s.Record = new(metapb.JobRecord)
		return proto.Unmarshal(b, s.Record)
	case field == "incarnation":
		s.Incarnation = new(metapb.Incarnation)
		return proto.Unmarshal(b, s.Incarnation)
	case field == "intent":
		s.Intent = new(metapb.Intent)
		return proto.Unmarshal(b, s.Intent)
	case field == "result":
		s.Result = new(metapb.JobResult)
		return proto.Unmarshal(b, s.Result)
	case field == "checkpoint-id":
		n, err := strconv.ParseUint(string(b), 10, 64)
		s.CheckpointID = stream.CheckpointID(n)
		return err
	case field == "statistics":
		s.Statistics = new(metapb.CheckpointStatistics)
		return proto.Unmarshal(b, s.Statistics)
	case field == "failures":
		all := new(metapb.Failures)
		if err := proto.Unmarshal(b, all); err != nil {
			return err
		}
		s.Failures = all.Failures
		return nil
	case strings.HasPrefix(field, "operations/"):
		op := new(metapb.Operation)
		if err := proto.Unmarshal(b, op); err != nil {
			return err
		}
		s.Operations = append(s.Operations, op)
		return nil
	case strings.HasPrefix(field, "checkpoints/"):
		p := new(metapb.CheckpointPointer)
		if err := proto.Unmarshal(b, p); err != nil {
			return err
		}
		s.Pointers = append(s.Pointers, p)
		return nil
	}
	return nil // a newer version's: kept, not understood
}
