package etcdha

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/weirstream/weir/internal/sockets"
)

// Ticks of the embedded member. A single member needs no margin for a network;
// 10/100 ms makes it ready 0.13 s after the start instead of 0.6 s.
const (
	embeddedTickMs     = 10
	embeddedElectionMs = 100
)

// Embedded is an etcd member inside this process, with the store on it.
type Embedded struct {
	*Store
	server *embed.Etcd
	lock   *os.File
	tmp    *sockets.Folder // of its sockets
}

// ErrFolderInUse says that another process has the data folder.
var ErrFolderInUse = errors.New("data folder is in use by another process")

// StartEmbedded starts a single member in dir and waits until it serves. The
// folder is locked: a second process gets ErrFolderInUse. listen is a client URL
// such as http://127.0.0.1:2379 for other processes of this host, or "" for none.
func StartEmbedded(ctx context.Context, dir, listen string, o Options) (_ *Embedded, err error) {
	e := &Embedded{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.release())
		}
	}()
	if e.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if e.tmp, err = sockets.Open(dir); err != nil {
		return nil, err
	}
	cfg, err := embeddedConfig(dir, listen, e.tmp.Path)
	if err != nil {
		return nil, err
	}
	if o.Fatal != nil {
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(fatalLogger(o.Fatal))
	}
	if e.server, err = embed.StartEtcd(cfg); err != nil {
		return nil, fmt.Errorf("start embedded etcd in %s: %w", dir, err)
	}
	select {
	case <-e.server.Server.ReadyNotify():
	case err := <-e.server.Err():
		return nil, fmt.Errorf("embedded etcd in %s: %w", dir, err)
	case <-ctx.Done():
		return nil, fmt.Errorf("embedded etcd in %s does not become ready: %w", dir, context.Cause(ctx))
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 3 * time.Second
	}
	e.Store = newStore(v3client.New(e.server.Server), o)
	return e, e.deposePredecessor(ctx)
}

func embeddedConfig(dir, listen, tmp string) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "member")
	cfg.Name = "weir"
	cfg.TickMs, cfg.ElectionMs = embeddedTickMs, embeddedElectionMs
	cfg.LogLevel = "fatal" // its failures come back as errors
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "revision", "1000"
	peer := url.URL{Scheme: "unix", Path: filepath.Join(tmp, "peer")}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	client := url.URL{Scheme: "unix", Path: filepath.Join(tmp, "client")}
	if listen != "" {
		u, err := url.Parse(listen)
		if err != nil {
			return nil, fmt.Errorf("address of the embedded etcd: %w", err)
		}
		client = *u
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	return cfg, nil
}

// fatalLogger hands what etcd dies of to fatal, and drops all other lines.
func fatalLogger(fatal func(error)) *zap.Logger {
	h := fatalHook(fatal)
	return zap.New(zapcore.NewNopCore(), zap.WithFatalHook(h), zap.WithPanicHook(h))
}

type fatalHook func(error)

// OnWrite implements zapcore.CheckWriteHook.
func (h fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(e.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			err = fmt.Errorf("%s: %w", e.Message, cause)
		}
	}
	h(err)
	panic("weir: BUG: the process goes on after its etcd has ended: " + err.Error())
}

func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s (%w)", ErrFolderInUse, dir, err), f.Close())
	}
	return f, nil
}

// Close stops the member and gives the folder back.
func (e *Embedded) Close() error { return e.release() }

func (e *Embedded) release() error {
	var errs []error
	if e.Store != nil {
		errs = append(errs, e.Store.Close())
	}
	if e.server != nil {
		e.server.Close()
	}
	if e.tmp != nil {
		errs = append(errs, e.tmp.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}
