package jobmanager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/config"
	"github.com/weirstream/weir/internal/loop"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/operations"
	"github.com/weirstream/weir/jobmanager/session"
	"github.com/weirstream/weir/jobmanager/settings"
	"github.com/weirstream/weir/jobmanager/slots"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
)

// Dispatcher accepts jobs and shares the cluster's slots among them, for one
// leadership.
type Dispatcher struct {
	// Immutable after newDispatcher.
	manager *JobManager
	lead    ha.Leadership
	jobs    *ha.Jobs
	cluster *metapb.ClusterRecord
	log     *slog.Logger
	loop    *loop.Loop[event]
	initial []*ha.JobState // what the store held when the leadership began

	// TaskManagers by id: changed by the loop, read by JobMasters that send.
	tms struct {
		sync.Mutex
		byID map[string]*session.TaskManager
	}

	receipt *receipt        // of what this leader has taken over
	users   snapshots.Users // jobs that have not ended: what they need is not deleted

	// Owned by the loop.
	masters   map[job.ID]*JobMaster
	open      map[job.ID]bool // jobs of which it is not known yet what runs
	ended     map[job.ID]*ha.JobState
	broken    map[job.ID]error    // jobs on record that this version can't run
	views     map[job.ID]*api.Job // last views of jobs that ended under this leader
	pool      slots.Pool
	seq       uint64 // of jobs, for the ids of their workers
	disposals *operations.Core
	asked     requests       // for disposals
	running   sync.WaitGroup // JobMasters
	ctx       context.Context
}

// event is what the dispatcher's loop takes in.
type event interface{ handle(*Dispatcher) }

// newDispatcher reads what the store holds. Reading comes after winning: older
// transactions can no longer apply.
func newDispatcher(ctx context.Context, m *JobManager, lead ha.Leadership) (*Dispatcher, error) {
	d := &Dispatcher{
		manager: m, lead: lead, jobs: ha.NewJobs(m.cfg.HA, lead), log: m.log.With("epoch", uint64(lead.Epoch())),
		masters: map[job.ID]*JobMaster{}, open: map[job.ID]bool{}, broken: map[job.ID]error{}, ended: map[job.ID]*ha.JobState{}, views: map[job.ID]*api.Job{},
	}
	d.receipt = newReceipt(d.epoch())
	d.tms.byID = map[string]*session.TaskManager{}
	var err error
	if d.cluster, err = d.jobs.Cluster(ctx, time.Now()); err != nil {
		return nil, err
	}
	if d.initial, err = d.jobs.All(ctx); err != nil {
		return nil, err
	}
	disposals, err := d.jobs.Disposals(ctx)
	if err != nil {
		return nil, err
	}
	d.disposals = operations.New("the cluster", keptDisposals, disposals)
	d.loop = loop.New(loop.Options[event]{Name: "dispatcher", Drop: dropEvent})
	return d, nil
}

// dropEvent answers whoever waits for an event that will not be handled.
func dropEvent(e event) {
	if a, ok := e.(interface{ abandon() }); ok {
		a.abandon()
	}
}

func (d *Dispatcher) epoch() uint64 { return uint64(d.lead.Epoch()) }

// sweepInterval is how often ended jobs are looked over for what may go.
const sweepInterval = 10 * time.Minute

// run is the leader's life: until ctx is done or a transaction is fenced. It returns
// when every JobMaster has.
func (d *Dispatcher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.ctx = ctx
	for _, s := range d.initial {
		switch id := job.ID(s.Record.GetJobId()); {
		case s.Problem != nil:
			d.leave(s.ID, s.Problem)
		case s.Result == nil:
			_ = d.startMaster(s) // said in the log, and to whoever asks for the job
		case s.Result.Cleaned || d.startMaster(s) != nil: // else the clean-up goes on
			delete(d.broken, id)
			d.ended[id] = s
		}
	}
	d.operate(operations.Loaded{}) // when it is known what the jobs need
	d.loop.After(sweepInterval, &sweep{})
	d.loop.Run(ctx, func(e event) { e.handle(d) })
	cancel() // a fenced transaction ends the loop while ctx goes on
	d.asked.abandon()
	d.running.Wait()
}

func (d *Dispatcher) startMaster(s *ha.JobState) error {
	d.seq++
	needed := ""
	if !s.Record.SourceReleased {
		needed = s.Record.RestoreFrom
	}
	m, err := newJobMaster(d, s, d.seq)
	if err != nil {
		d.users.Put(job.ID(s.Record.JobId), "", needed)
		d.leave(job.ID(s.Record.JobId), err)
		return err
	}
	d.masters[m.id] = m
	if m.adoption != nil {
		d.open[m.id] = true
		d.receipt.open()
	}
	d.users.Put(m.id, m.settings.CheckpointFolder(m.id), needed)
	d.running.Go(func() { m.run(d.ctx) })
	return nil
}

// leave notes a job whose record can't be understood. It must not stop the other
// jobs; it is left as it is, for a version that understands it.
func (d *Dispatcher) leave(id job.ID, cause error) {
	d.broken[id] = cause
	d.log.Error("job cannot be taken over; it is left as it is", "job", string(id), "cause", cause)
}

// ---- slots ----

// slotsWanted: a JobMaster asks for n slots in all.
type slotsWanted struct {
	id     job.ID
	number uint64
	n      int
	have   []string
	wanted int
}

func (e *slotsWanted) handle(d *Dispatcher) {
	d.pool.Request(e.id, e.number, e.n, e.have, e.wanted)
	d.grant()
}

// slotsReleased: a JobMaster needs none any more.
type slotsReleased struct{ id job.ID }

func (e *slotsReleased) handle(d *Dispatcher) {
	d.pool.Release(e.id)
	d.grant()
}

func (d *Dispatcher) grant() {
	for _, g := range d.pool.Grants() {
		if m := d.masters[g.Job]; m != nil {
			m.post(&slotsGranted{g})
		}
	}
}

// ---- jobs ----

// Submission is a job to be run.
type Submission struct {
	ID           job.ID // chosen by the client, so that submitting is idempotent; "" = random
	Plan         *metapb.Plan
	Args         []string
	BinarySHA256 []byte // in the high-availability store; nil in local mode
	Settings     map[string]string
	Restore      api.Restore // what it starts from
}

// ErrRefused marks a submission that can't be run as it is.
var ErrRefused = errors.New("job refused")

// maxBinary bounds an uploaded job binary.
const maxBinary = 1 << 30

// PutBinary stores a job binary and returns its digest.
func (m *JobManager) PutBinary(r io.Reader) ([]byte, error) {
	sum, _, err := m.objects.Put(r, maxBinary)
	if err != nil {
		return nil, err
	}
	return sum[:], nil
}

// Submit records a job and starts it. Warnings are for the user.
func (m *JobManager) Submit(ctx context.Context, s Submission) (id job.ID, warnings []string, err error) {
	d := m.leader()
	if d == nil {
		return "", nil, ErrNotLeader
	}
	if s.ID == "" {
		s.ID = job.ID(randomHex(16))
	} else if _, err := m.find(ctx, s.ID); err == nil {
		return s.ID, nil, nil // the same submission again
	}
	if err := s.ID.Validate(); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if v := s.Plan.GetWeirVersion(); v != "" && m.cfg.Version != "" && !buildflags.SameMinor(v, m.cfg.Version) {
		return "", nil, api.NewError(api.ErrIncompatible, "VERSION_MISMATCH",
			fmt.Sprintf("the job is built with weir %s, the cluster runs %s: both must be of the same minor version", v, m.cfg.Version),
			"build the job with version "+m.cfg.Version+" of the module github.com/weirstream/weir")
	}
	chosen, err := settings.Of(m.cfg.Settings, s.Plan, s.Settings, m.cfg.Storage)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	g, err := job.NewGraph(s.Plan, chosen.Parallelism)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	// Before the job is on record: one whose folder is of no use would stay there, broken.
	if err := m.tryFolder(ctx, chosen.CheckpointDir); err != nil {
		return "", nil, api.NewError(api.ErrInvalid, "CHECKPOINT_DIR", fmt.Sprintf("%s %s can't be used: %v", config.CheckpointDir.Key, chosen.CheckpointDir, err),
			"-D "+config.CheckpointDir.Key+"=FOLDER, one that the JobManager and all TaskManagers can write")
	}
	hash := job.PlanHash(s.Plan)
	rec := &metapb.JobRecord{
		JobId: string(s.ID), Name: s.Plan.Name, PlanSha256: hash[:], Plan: s.Plan, BinarySha256: s.BinarySHA256,
		Config: chosen.Effective, SubmittedAtMs: time.Now().UnixMilli(),
	}
	if warnings, err = m.checkRestore(ctx, d, s.Restore, rec, g); err == nil {
		err = m.storePlan(rec)
	}
	if err != nil {
		_ = d.loop.Post(&sourceFreed{s.ID, rec.RestoreFrom}) // closed: the next leader does it
		return "", nil, err
	}
	reply := make(chan error, 1)
	if d.loop.Post(&submitted{ctx, rec, reply}) != nil {
		return "", nil, ErrNotLeader
	}
	select {
	case err := <-reply:
		return s.ID, warnings, err
	case <-ctx.Done():
		return s.ID, nil, context.Cause(ctx)
	}
}

// tryFolder reports why checkpoints can't be written below folder, or nil. It is the folder of
// all jobs: that of this one would stay if the job were refused.
func (m *JobManager) tryFolder(ctx context.Context, folder string) error {
	store, err := m.stores(folder)
	if err != nil {
		return err
	}
	w, err := store.Create(ctx, "probe") // a name that no checkpoint has, and nothing is left of it
	if err == nil {
		err = w.Abort()
	}
	if c, ok := store.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// maxInlinePlan is the size above which a plan is kept as an object: etcd refuses
// requests over 1.5 MiB.
const maxInlinePlan = 1 << 20

// storePlan moves a large plan out of rec.
func (m *JobManager) storePlan(rec *metapb.JobRecord) error {
	if proto.Size(rec.Plan) <= maxInlinePlan {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rec.Plan)
	if err != nil {
		return fmt.Errorf("encode plan of job %s: %w", rec.JobId, err)
	}
	sum, _, err := m.objects.Put(newReader(b), int64(len(b)))
	if err != nil {
		return fmt.Errorf("store plan of job %s: %w", rec.JobId, err)
	}
	rec.PlanSha256, rec.Plan = sum[:], nil
	return nil
}

// loadPlan is the inverse of storePlan.
func (m *JobManager) loadPlan(rec *metapb.JobRecord) (*metapb.Plan, error) {
	if rec.Plan != nil {
		return rec.Plan, nil
	}
	f, size, err := m.objects.Get(rec.PlanSha256)
	if err != nil {
		return nil, fmt.Errorf("plan of job %s: %w", rec.JobId, err)
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read plan of job %s: %w", rec.JobId, err)
	}
	plan := new(metapb.Plan)
	if err := proto.Unmarshal(b, plan); err != nil {
		return nil, fmt.Errorf("decode plan of job %s (%d bytes): %w", rec.JobId, size, err)
	}
	return plan, nil
}

// submitted: a checked submission is to be recorded and started.
type submitted struct {
	ctx   context.Context
	rec   *metapb.JobRecord
	reply chan<- error
}

func (e *submitted) handle(d *Dispatcher) {
	id := job.ID(e.rec.JobId)
	switch {
	case d.masters[id] != nil || d.ended[id] != nil:
		e.reply <- nil // the same submission again
		(&sourceFreed{id, e.rec.RestoreFrom}).handle(d)
		return
	case d.broken[id] != nil:
		e.reply <- fmt.Errorf("%w: %s: %w", ErrUnreadable, id, d.broken[id])
		return
	}
	if !d.loop.Go("accept job", func(ctx context.Context) event { return d.accept(ctx, e) }) {
		e.abandon()
	}
}

func (e *submitted) abandon() { e.reply <- ErrNotLeader }

// accept records a job. Without a certain result it tries again until there is one:
// a job that is on record and that nobody runs would wait for the next leader. That
// the id is on record already says that an earlier try was applied after all, or
// that the client has asked twice; either way the job is the leader's to run.
func (d *Dispatcher) accept(ctx context.Context, e *submitted) event {
	a := &accepted{state: &ha.JobState{ID: job.ID(e.rec.JobId), Record: e.rec}, reply: e.reply}
	a.err = certain(ctx, func() error { return d.jobs.Accept(ctx, e.rec) })
	if !errors.Is(a.err, ha.ErrConflict) {
		return a
	}
	err := certain(ctx, func() error {
		s, err := d.jobs.Get(ctx, job.ID(e.rec.JobId))
		switch {
		case err == nil:
			a.state = s
		case s == nil && !errors.Is(err, ha.ErrNotFound): // the store is away
			err = fmt.Errorf("%w: %w", ha.ErrUnknown, err)
		}
		return err
	})
	if !errors.Is(err, ha.ErrNotFound) { // else it has ended, and was forgotten
		a.err = err
	}
	return a
}

// storeRetry is the pause before a request without a certain result is repeated.
const storeRetry = 200 * time.Millisecond

// certain repeats an idempotent request until its result is known (I4), or ctx ends.
func certain(ctx context.Context, request func() error) error {
	for {
		err := request()
		if err == nil || ctx.Err() != nil || !errors.Is(err, ha.ErrUnknown) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		pause(ctx, storeRetry)
	}
}

type accepted struct {
	state *ha.JobState // on record, if err is nil
	err   error
	reply chan<- error
}

func (e *accepted) handle(d *Dispatcher) {
	id := job.ID(e.state.Record.JobId)
	switch {
	case errors.Is(e.err, ha.ErrFenced):
		(leadershipLost{}).handle(d)
	case e.err != nil || d.masters[id] != nil || d.ended[id] != nil:
	case e.state.Result != nil && e.state.Result.Cleaned:
		d.ended[id] = e.state
	default:
		d.log.Info("job accepted", "job", string(id), "name", e.state.Record.Name)
		e.err = d.startMaster(e.state)
	}
	(&sourceFreed{id, e.state.Record.RestoreFrom}).handle(d)
	e.reply <- e.err
}

func (e *accepted) abandon() { e.reply <- ErrNotLeader }

// masterEnded: a JobMaster has nothing left to do; state is the job's last record.
type masterEnded struct {
	m     *JobMaster
	state *ha.JobState
	view  *api.Job
}

func (e *masterEnded) handle(d *Dispatcher) {
	if d.masters[e.m.id] == e.m {
		delete(d.masters, e.m.id)
		delete(d.open, e.m.id)
		d.users.Remove(e.m.id)
		(&sourceFreed{e.m.id, e.m.record.RestoreFrom}).handle(d)
		d.ended[e.m.id], d.views[e.m.id] = e.state, e.view
		close(e.m.over)
		d.pool.Release(e.m.id)
		d.grant()
		(&sweep{}).clean(d)
	}
}

// leadershipLost: a transaction was fenced. Nothing more may be done.
type leadershipLost struct{}

func (leadershipLost) handle(d *Dispatcher) {
	d.log.Error("a transaction was refused because another JobManager leads; this one stops leading")
	d.loop.Close()
}
