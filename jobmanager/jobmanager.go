package jobmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/jobmanager/execgraph"
	"github.com/weirstream/weir/jobmanager/objects"
	"github.com/weirstream/weir/jobmanager/session"
	"github.com/weirstream/weir/jobmanager/snapshots"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/proto/weirpb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// HA is where the cluster's records are.
type HA interface {
	ha.KV
	ha.Election
}

// Config says how a JobManager runs. Zero values are defaults where there is one.
type Config struct {
	ClusterID string // default "weir"
	HA        HA
	Storage   string // high-availability.storageDir: binaries and plans, by SHA-256
	// Private is the folder for checkpoints where it is this host's alone: TaskManagers
	// of other hosts are refused. "" = shared, or named by who set it.
	Private  string
	Settings map[string]string // cluster configuration; jobs inherit it
	Version  string            // of this program
	Self     *metapb.LeaderRecord
	RPC      net.Listener // takes TaskManagers
	Log      *slog.Logger

	// HeartbeatInterval is the time between heartbeats, of both sides; default 1 s.
	HeartbeatInterval time.Duration
	// HeartbeatTimeout is how long a TaskManager may be silent; default 5 s.
	HeartbeatTimeout time.Duration
	// AdoptionTimeout is how long a new leader waits for TaskManagers to report what runs,
	// before it starts again what nobody has reported; default HeartbeatTimeout and
	// a second: so long it takes them to leave a silent leader.
	AdoptionTimeout time.Duration
	// RetainJobs and RetainFor bound how many ended jobs are kept, and how long;
	// defaults 100 and 7 days.
	RetainJobs int
	RetainFor  time.Duration
	// RegionFailed, if set, is told of each failure, by the job's goroutine.
	RegionFailed func(job.ID, execgraph.RegionFailed)
}

func (c *Config) ensureDefaults() error {
	if c.HA == nil || c.RPC == nil {
		return errors.New("jobmanager: HA and RPC are required")
	}
	c.ClusterID = cmp.Or(c.ClusterID, "weir")
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, time.Second)
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, 5*time.Second)
	c.AdoptionTimeout = cmp.Or(c.AdoptionTimeout, c.HeartbeatTimeout+time.Second)
	c.RetainJobs = cmp.Or(c.RetainJobs, 100)
	c.RetainFor = cmp.Or(c.RetainFor, 7*24*time.Hour)
	if c.Self == nil {
		c.Self = &metapb.LeaderRecord{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// JobManager is one process of the control side. Several may run; one leads.
type JobManager struct {
	cfg     Config
	log     *slog.Logger
	objects *objects.Store
	stores  func(folder string) (objstore.Store, error) // opens checkpoint folders
	// copySnapshot writes a savepoint, self-contained, out of a completed checkpoint, and
	// returns its size; see is told how much of it is copied. What an earlier try left is no
	// hindrance.
	copySnapshot func(ctx context.Context, from, to string, t metapb.SnapshotType, see func(done, all uint64)) (bytes uint64, err error)

	mu struct {
		sync.Mutex
		leader *Dispatcher // nil while this process does not lead
	}
}

// New checks cfg.
func New(cfg Config) (*JobManager, error) {
	if err := cfg.ensureDefaults(); err != nil {
		return nil, err
	}
	objects, err := objects.Open(cfg.Storage)
	if err != nil {
		return nil, err
	}
	if cfg.AdoptionTimeout <= cfg.HeartbeatTimeout {
		cfg.Log.Warn("a new leader will start jobs again that run: TaskManagers take longer to leave a silent leader than the next one waits for them",
			"heartbeat.timeout", cfg.HeartbeatTimeout, "high-availability.adoption-timeout", cfg.AdoptionTimeout)
	}
	return &JobManager{cfg: cfg, log: cfg.Log, objects: objects, stores: objstore.Parse, copySnapshot: snapshots.Copy}, nil
}

// Run campaigns and leads, again and again, until ctx is done; then it resigns.
func (m *JobManager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server := grpc.NewServer(
		grpc.WaitForHandlers(true), // Stop leaves no goroutine behind
		grpc.MaxRecvMsgSize(weirpb.MaxMessage), grpc.MaxSendMsgSize(weirpb.MaxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	weirpb.RegisterJobManagerServiceServer(server, session.New(session.Options{
		ClusterID: m.cfg.ClusterID, Version: m.cfg.Version, Private: m.cfg.Private, Objects: m.objects,
		HeartbeatInterval: m.cfg.HeartbeatInterval, HeartbeatTimeout: m.cfg.HeartbeatTimeout,
		Leader: func() session.Leader {
			if d := m.leader(); d != nil {
				return leading{d}
			}
			return nil
		},
	}))
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(m.cfg.RPC); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			cancel(&serveError{fmt.Errorf("serve TaskManagers at %s: %w", m.cfg.RPC.Addr(), err)})
		}
	}()
	defer func() { server.Stop(); <-served }()
	for {
		lead, err := m.campaign(ctx)
		if err != nil {
			return err
		}
		if lead == nil {
			return ended(ctx)
		}
		if err := m.lead(ctx, lead); err != nil {
			m.log.Error("leading ended", "epoch", lead.Epoch(), "cause", err)
			pause(ctx, campaignRetry) // let another process try
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
	}
}

// leaderWatch is the pause between two looks at who leads.
const leaderWatch = 500 * time.Millisecond

// sayLeader tells the log who leads, once it is another process, until ctx is done.
func (m *JobManager) sayLeader(ctx context.Context, log *slog.Logger) {
	said := ""
	for ctx.Err() == nil {
		r, epoch, err := m.cfg.HA.Leader(ctx)
		switch {
		case err == nil && r.Process != m.cfg.Self.Process:
			log.Info("another JobManager leads; standing by", "leader", r.RestAddress, "rpc", r.RpcAddress, "leader_epoch", uint64(epoch))
			return
		case err != nil && ctx.Err() == nil && !errors.Is(err, ha.ErrNotFound) && err.Error() != said: // a campaign says nothing, it waits
			said = err.Error()
			log.Warn("high-availability store does not answer; trying again", "cause", err)
		}
		pause(ctx, leaderWatch)
	}
}

// serveError says that TaskManagers can't be served any more.
type serveError struct{ error }

// ended is what Run returns when ctx is done: nil, if that was asked for.
func ended(ctx context.Context) error {
	var failed *serveError
	if errors.As(context.Cause(ctx), &failed) {
		return failed.error
	}
	return nil
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// campaignRetry is the pause after a failed campaign: etcd is away.
const campaignRetry = 500 * time.Millisecond

// campaign waits until this process leads. Trouble with the store is reported once
// and waited out: a standby has nothing better to do.
func (m *JobManager) campaign(ctx context.Context) (ha.Leadership, error) {
	wctx, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() { m.sayLeader(wctx, m.log) })
	said := ""
	for ctx.Err() == nil {
		lead, err := m.cfg.HA.Campaign(ctx, proto.Clone(m.cfg.Self).(*metapb.LeaderRecord))
		if err == nil {
			return lead, nil
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if err.Error() != said {
			said = err.Error()
			m.log.Warn("cannot campaign for the leadership; trying again", "cause", err)
		}
		pause(ctx, campaignRetry)
	}
	return nil, nil
}

// resignTimeout bounds giving up the leadership at a clean stop; the lease ends it
// otherwise.
const resignTimeout = 2 * time.Second

// lead runs the Dispatcher until the leadership is lost or ctx is done.
func (m *JobManager) lead(ctx context.Context, lead ha.Leadership) error {
	d, err := newDispatcher(ctx, m, lead)
	if err != nil {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
		defer cancel()
		return errors.Join(err, lead.Resign(rctx))
	}
	m.setLeader(d)
	m.log.Info("leading", "epoch", lead.Epoch(), "jobs", len(d.initial))
	lctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-lead.Lost():
			m.log.Warn("the leadership is lost: the store has not heard of this process for too long; its jobs are the next leader's", "epoch", uint64(lead.Epoch()))
			cancel()
		case <-lctx.Done():
		}
	}()
	d.run(lctx)
	m.setLeader(nil)
	rctx, cancelResign := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
	defer cancelResign()
	if err := lead.Resign(rctx); err != nil && ctx.Err() == nil {
		m.log.Warn("resign", "cause", err)
	}
	return nil
}

func (m *JobManager) setLeader(d *Dispatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.leader = d
}

// leader is the running Dispatcher, or nil.
func (m *JobManager) leader() *Dispatcher {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.leader
}

// ErrNotLeader says that another process leads, or none.
var ErrNotLeader = errors.New("this JobManager does not lead")

// Leader returns the record of whoever leads.
func (m *JobManager) Leader(ctx context.Context) (*metapb.LeaderRecord, ha.Epoch, error) {
	return m.cfg.HA.Leader(ctx)
}

// Leads reports whether this process leads.
func (m *JobManager) Leads() bool { return m.leader() != nil }
