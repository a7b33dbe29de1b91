package exchange

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Memory is a network inside one process: its Listen and Dial connect by net.Pipe.
// Local mode and tests in a synctest bubble use it in place of sockets. The zero
// value is ready.
type Memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
}

type memoryListener struct {
	memory  *Memory
	address memoryAddress
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

type memoryAddress struct{ network, address string }

func (a memoryAddress) Network() string { return a.network }
func (a memoryAddress) String() string  { return a.address }

// Listen accepts what Dial sends to the same network and address.
func (m *Memory) Listen(network, address string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners == nil {
		m.listeners = map[string]*memoryListener{}
	}
	key := network + "|" + address
	if m.listeners[key] != nil {
		return nil, fmt.Errorf("listen in memory on %s %s: address is in use", network, address)
	}
	l := &memoryListener{
		memory: m, address: memoryAddress{network, address},
		conns: make(chan net.Conn), done: make(chan struct{}),
	}
	m.listeners[key] = l
	return l, nil
}

// Dial connects to a listener.
func (m *Memory) Dial(ctx context.Context, network, address string) (net.Conn, error) {
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
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.memory.mu.Lock()
		defer l.memory.mu.Unlock()
		delete(l.memory.listeners, l.address.network+"|"+l.address.address)
	})
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return l.address }
