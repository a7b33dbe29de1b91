package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Network is a network: its Listen and Dial connect by net.Pipe. The zero value is
// ready.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
}

type listener struct {
	network *Network
	at      endpoint
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

type endpoint struct{ network, address string }

func (a endpoint) Network() string { return a.network }
func (a endpoint) String() string  { return a.address }

// Listen accepts what Dial sends to the same network and address.
func (m *Network) Listen(network, address string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners == nil {
		m.listeners = map[string]*listener{}
	}
	key := network + "|" + address
	if m.listeners[key] != nil {
		return nil, fmt.Errorf("listen in memory on %s %s: address is in use", network, address)
	}
	l := &listener{
		network: m, at: endpoint{network, address},
		conns: make(chan net.Conn), done: make(chan struct{}),
	}
	m.listeners[key] = l
	return l, nil
}

// Dial connects to a listener.
func (m *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[network+"|"+address]
	m.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial in memory %s %s: nobody listens", network, address)
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, fmt.Errorf("dial in memory %s %s: listener is closed", network, address)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial in memory %s %s: %w", network, address, context.Cause(ctx))
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, l.at.network+"|"+l.at.address)
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.at }
