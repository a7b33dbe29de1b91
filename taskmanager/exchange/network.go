package exchange

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/weirstream/weir/job"
)

// NetworkOptions configure a worker's end of the data path.
type NetworkOptions struct {
	Cluster string   // cluster id
	Job     job.ID   // every worker is of one job
	Binary  [32]byte // SHA-256 of the job's binary
	Host    string   // this machine, as in Location.Host

	// TCP and Unix are the addresses to listen on: host:port (port 0: any) and a
	// path. "" listens not at all: a worker that is alone needs no address.
	TCP  string
	Unix string
	// Listen and Dial replace net.Listen and net.Dialer.DialContext if set (NewMemory
	// has both). network is "tcp" or "unix".
	Listen func(network, address string) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)

	// Memory is the bytes that queued records may take, in all channels together;
	// 0 means 64 MiB.
	Memory int64
	Log    *slog.Logger // nil discards
}

const (
	defaultMemory = 64 << 20
	// minWindow leaves room for three frames: the reserve, one on its way, and one
	// being consumed whose credit is not yet back.
	minWindow = 3 * (headerBytes + frameBytes)
	// maxWindow bounds what a barrier may find ahead of itself.
	maxWindow = 8 * (headerBytes + frameBytes)
)

// Network is one worker's end of the data path. Safe for concurrent use.
type Network struct {
	// Immutable after NewNetwork.
	options NetworkOptions

	mu      sync.Mutex
	closed  bool
	fabrics map[job.Incarnation]*Fabric
	newest  job.Incarnation
}

// NewNetwork listens on the addresses of o.
func NewNetwork(o NetworkOptions) (*Network, error) {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Network{options: o, fabrics: map[job.Incarnation]*Fabric{}}, nil
}

// TCPAddress is the address it listens on (host:port); "" if none.
func (n *Network) TCPAddress() string { return "" }

// UnixAddress is the path of the unix socket it listens on; "" if none.
func (n *Network) UnixAddress() string { return "" }

// Close closes every fabric and waits for the network's goroutines.
func (n *Network) Close() error { return nil }

func (n *Network) register(f *Fabric) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if n.fabrics[f.incarnation] != nil {
		return fmt.Errorf("incarnation %d is open already", f.incarnation)
	}
	n.fabrics[f.incarnation] = f
	n.newest = max(n.newest, f.incarnation)
	return nil
}

func (n *Network) unregister(f *Fabric) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.fabrics, f.incarnation)
}
