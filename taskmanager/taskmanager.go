package taskmanager

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/weirstream/weir/internal/sendqueue"
	"github.com/weirstream/weir/internal/sockets"
	"github.com/weirstream/weir/proto/weirpb"
)

// Config says what a TaskManager offers and where its JobManagers are. The zero
// value of each optional field is its default.
type Config struct {
	ID          string   // random if empty
	ClusterID   string   // "": whichever the JobManagers have
	Host        string   // address that workers listen on for records and others reach them at; default 127.0.0.1
	Slots       int      // default 1
	JobManagers []string // RPC addresses, tried in turn
	Data        string   // folder for binaries, workers, logs and sockets; the caller holds a lock of it
	Memory      int64    // bytes for all workers together (taskmanager.memory.process.size)
	Version     string   // of this program

	Launcher Launcher // how workers are started; required
	// Dial connects to a JobManager; nil: TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// AgentListener takes the workers' control connections; nil: a unix socket in a
	// short folder of its own.
	AgentListener net.Listener

	Log *slog.Logger
}

func (c *Config) ensureDefaults() error {
	if c.Launcher == nil {
		return errors.New("taskmanager: no launcher")
	}
	if c.ID == "" {
		var b [8]byte
		rand.Read(b[:])
		c.ID = "tm-" + hex.EncodeToString(b[:])
	}
	c.Host = cmp.Or(c.Host, "127.0.0.1")
	c.Slots = cmp.Or(c.Slots, 1)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.JobManagers) == 0 {
		return errors.New("taskmanager: no JobManager address")
	}
	return nil
}

// TaskManager is the agent. Everything below Run's comment belongs to the loop.
type TaskManager struct {
	cfg    Config
	log    *slog.Logger
	events chan event // to the loop
	done   chan struct{}

	// Owned by the loop.
	session   *session               // the present stream to a JobManager, nil while there is none
	joining   *session               // the one that is being set up, nil if none is
	leftAt    time.Time              // when the last session ended; zero: there was none
	exited    []*weirpb.WorkerExited // that no leader has been told of
	refused   uint64                 // commands of former leaders, so far
	heartbeat *time.Ticker
	cluster   string // incarnation of the cluster that epoch belongs to
	epoch     uint64 // highest leader epoch seen (I2)
	workers   map[uint64]*worker
	stopping  bool
	killAt    <-chan time.Time // when what is stopping is killed
	refusal   error            // why a JobManager will not have this TaskManager
	agent     *grpc.Server
	sockets   *sockets.Folder // of the agent and the workers; nil in local mode
	binaries  *binaryCache
	cleaning  sync.WaitGroup // folders being removed
}

// event is what the loop takes in.
type event interface{ handle(*TaskManager) }

// post hands e to the loop; it is dropped when the loop has ended.
func (t *TaskManager) post(e event) {
	select {
	case t.events <- e:
	case <-t.done:
	}
}

// New checks cfg and prepares the agent's folder; Run starts it.
func New(cfg Config) (*TaskManager, error) {
	if err := cfg.ensureDefaults(); err != nil {
		return nil, err
	}
	for _, dir := range []string{"binaries", "workers", "logs"} {
		if err := os.MkdirAll(filepath.Join(cfg.Data, dir), 0o700); err != nil {
			return nil, fmt.Errorf("make data folder of TaskManager: %w", err)
		}
	}
	t := &TaskManager{
		cfg: cfg, log: cfg.Log.With("taskmanager", cfg.ID),
		events: make(chan event, 256), done: make(chan struct{}),
		workers:  map[uint64]*worker{},
		binaries: &binaryCache{dir: filepath.Join(cfg.Data, "binaries")},
	}
	return t, nil
}

// ID names this TaskManager process.
func (t *TaskManager) ID() string { return t.cfg.ID }

// stopGrace is how long workers have to end when the agent is asked to stop.
const stopGrace = 2 * time.Second

// Run serves until ctx is done, then stops the workers and returns nil. If the leading
// JobManager refuses the TaskManager for good it returns ErrRefused.
func (t *TaskManager) Run(ctx context.Context) error {
	if err := t.serveAgent(); err != nil {
		close(t.done)
		return err
	}
	t.heartbeat = time.NewTicker(heartbeatInterval)
	sessions := make(chan struct{})
	sctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(sessions)
		t.connectForEver(sctx)
	}()
	defer func() {
		cancel()
		close(t.done) // from here on posts are dropped, so nobody waits for the loop
		<-sessions
		t.closeAgent()
		t.cleaning.Wait()
	}()
	defer t.heartbeat.Stop()
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	t.sweepNow()
	stop := ctx.Done()
	for {
		select {
		case e := <-t.events:
			e.handle(t)
		case <-t.heartbeat.C:
			if t.session != nil {
				t.send(&weirpb.FromTaskManager{Message: &weirpb.FromTaskManager_Heartbeat{Heartbeat: &weirpb.Heartbeat{Refused: t.refused}}})
			}
		case <-sweep.C:
			t.sweepNow()
		case <-stop:
			stop = nil
			t.stop("the TaskManager is stopping")
		case <-t.killAt:
			for _, w := range t.workers {
				w.kill("did not end in time while the TaskManager was stopping")
			}
		}
		if t.stopping && len(t.workers) == 0 {
			return t.refusal
		}
	}
}

// stop has all workers end; Run returns when they have.
func (t *TaskManager) stop(reason string) {
	if t.stopping {
		return
	}
	t.stopping, t.killAt = true, time.After(stopGrace)
	for _, w := range t.workers {
		w.stop(reason, stopGrace)
	}
}

// send hands m to the JobManager, if there is one, or to the one that is being registered
// with: it comes after the registration, which may be older than m. Else it is dropped: the
// next registration says what a leader has to know.
func (t *TaskManager) send(m *weirpb.FromTaskManager) {
	for _, s := range []*session{t.session, t.joining} {
		if s != nil && !s.out.Put(m) {
			s.cancel(sendqueue.ErrBehind)
		}
	}
}
