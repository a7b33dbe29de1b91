package exchange

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/internal/memnet"
)

// scarce is a listener that lacks file descriptors for a while.
type scarce struct {
	net.Listener
	fails int
}

func (s *scarce) Accept() (net.Conn, error) {
	if s.fails > 0 {
		s.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

// TestAcceptGoesOn: a worker that lacks descriptors for a while is reached afterwards.
func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &memnet.Network{}
		n, err := NewNetwork(NetworkOptions{Cluster: "c", Job: testJob, TCP: "b", Listen: func(network, address string) (net.Listener, error) {
			l, err := memory.Listen(network, address)
			return &scarce{l, 20}, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		conn, err := memory.Dial(t.Context(), "tcp", "b")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := readPreamble(conn); err != nil {
			t.Errorf("no greeting: %v", err)
		}
	})
}

// TestNoGreeting: a worker that takes connections and says nothing is given up.
func TestNoGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &memnet.Network{}
		l, err := memory.Listen("tcp", "b")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, _ = io.Copy(io.Discard, conn)
			}
		}()
		n, loc := newNetwork(t, "a", wire{memory: memory})
		o := fabricOptions(1, "a")
		for s := range o.Locations {
			if o.Locations[s].Worker == "a" {
				o.Locations[s] = loc
			} else {
				o.Locations[s] = Location{Worker: "b", TCP: "b"}
			}
		}
		f, err := n.NewFabric(o)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		began := time.Now()
		newProducer(t, f, 0, stringEdge(t))
		var lost *PeerError
		if lost = <-f.Failed(); lost.Worker != "b" || !errors.Is(lost, lost.Err) {
			t.Errorf("failure %v", lost)
		}
		if d := time.Since(began); d != answerTimeout {
			t.Errorf("given up after %v, want %v", d, answerTimeout)
		}
	})
}
