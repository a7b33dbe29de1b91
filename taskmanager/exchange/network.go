package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/weirstream/weir/job"
)

// NetworkOptions configure a worker's end of the data path.
type NetworkOptions struct {
	Cluster string   // cluster id
	Job     job.ID   // every worker is of one job
	Binary  [32]byte // SHA-256 of the job's binary
	Machine string   // this host, as in Location.Machine

	// TCP and Unix are the addresses to listen on: host:port (port 0: any) and a
	// path. "" listens not at all: a worker that is alone needs no address.
	TCP  string
	Unix string
	// Listen and Dial replace net.Listen and net.Dialer.DialContext if set
	// (memnet.Network has both). network is "tcp" or "unix".
	Listen func(network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)

	// Memory is the bytes that queued records may take, in all channels together;
	// 0 means 64 MiB.
	Memory int64
	Log    *slog.Logger // nil discards
}

const (
	defaultMemory = 64 << 20
	// minWindow is what a channel gets when there are more channels than the memory
	// provides for; with its reserve of one frame that is 40 KiB, so 10,000 channels in
	// a worker still fit half a gigabyte.
	minWindow = 8 << 10
	// maxWindow bounds what a barrier may find ahead of itself.
	maxWindow = 8 * (headerBytes + frameBytes)
)

// Network is one worker's end of the data path. Safe for concurrent use.
type Network struct {
	// Immutable after NewNetwork.
	options    NetworkOptions
	listeners  []net.Listener
	tcp, unix  string
	done       chan struct{} // closed by Close
	goroutines sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	fabrics    map[job.Incarnation]*Fabric // open ones
	newest     job.Incarnation             // of all there ever were
	changed    chan struct{}               // closed when a fabric comes
	handshakes map[net.Conn]struct{}
}

// NewNetwork listens on the addresses of o.
func NewNetwork(o NetworkOptions) (*Network, error) {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	n := &Network{
		options: o, done: make(chan struct{}), changed: make(chan struct{}),
		fabrics: map[job.Incarnation]*Fabric{}, handshakes: map[net.Conn]struct{}{},
	}
	for _, at := range []struct {
		network, address string
		got              *string
	}{{"tcp", o.TCP, &n.tcp}, {"unix", o.Unix, &n.unix}} {
		if at.address == "" {
			continue
		}
		l, err := o.Listen(at.network, at.address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for data on %s %s: %w", at.network, at.address, err), n.Close())
		}
		n.listeners = append(n.listeners, l)
		*at.got = l.Addr().String()
		n.goroutines.Go(func() { n.accept(l) })
	}
	return n, nil
}

// TCPAddress is the address it listens on (host:port); "" if none.
func (n *Network) TCPAddress() string { return n.tcp }

// UnixAddress is the path of the unix socket it listens on; "" if none.
func (n *Network) UnixAddress() string { return n.unix }

// Close stops listening, closes every fabric and waits for all goroutines.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	fabrics := slices.Collect(maps.Values(n.fabrics))
	for conn := range n.handshakes {
		_ = conn.Close() // it never became ours
	}
	n.mu.Unlock()
	close(n.done)
	var errs []error
	for _, l := range n.listeners {
		if err := l.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close data listener %s: %w", l.Addr(), err))
		}
	}
	for _, f := range fabrics {
		f.Close()
	}
	n.goroutines.Wait()
	return errors.Join(errs...)
}

func (n *Network) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

func (n *Network) register(f *Fabric) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return ErrClosed
	case n.fabrics[f.incarnation] != nil:
		return errors.New("it is open already")
	}
	n.fabrics[f.incarnation] = f
	n.newest = max(n.newest, f.incarnation)
	close(n.changed)
	n.changed = make(chan struct{})
	return nil
}

func (n *Network) unregister(f *Fabric) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.fabrics, f.incarnation)
}
