package exchange

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/weirstream/weir/job"
)

const (
	// helloTimeout is for a peer that has connected: it says hello at once.
	helloTimeout = 10 * time.Second
	// holdTimeout is how long a connection waits for its incarnation to be deployed
	// here. Workers of one deployment are told within a second of each other.
	holdTimeout = time.Minute
	// answerTimeout is how long the dialling end waits for its answer: longer than the
	// other end holds a connection.
	answerTimeout = holdTimeout + 2*helloTimeout
	// maxHandshakes bounds the connections that are not yet part of a fabric.
	maxHandshakes = 1024
	// dialTimeout bounds the connecting, not the wait for an answer.
	dialTimeout = 5 * time.Second
	// acceptPause is the wait after a failed accept: of want of file descriptors nothing
	// but time helps.
	acceptPause = 100 * time.Millisecond
)

// accept is a listener's goroutine.
func (n *Network) accept(l net.Listener) {
	said := "" // the last failure, until an accept succeeds
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case n.isClosed() || errors.Is(err, net.ErrClosed):
			return
		default: // peers wait for a greeting: a worker without a door is no worker
			if err.Error() != said {
				said = err.Error()
				n.options.Log.Error("data connections are not accepted; trying on", "address", l.Addr().String(), "error", err)
			}
			select {
			case <-time.After(acceptPause):
			case <-n.done:
				return
			}
			continue
		}
		said = ""
		if !n.track(conn) {
			_ = conn.Close() // too many, or closed: the peer sees it and reports it
		}
	}
}

// track starts the handshake of conn unless too many wait.
func (n *Network) track(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.handshakes) >= maxHandshakes {
		return false
	}
	n.handshakes[conn] = struct{}{}
	n.goroutines.Go(func() {
		taken, err := n.handshake(conn)
		n.mu.Lock()
		delete(n.handshakes, conn)
		n.mu.Unlock()
		if err != nil {
			n.options.Log.Warn("data connection refused", "from", conn.RemoteAddr().String(), "error", err)
		}
		if !taken {
			_ = conn.Close()
		}
	})
	return true
}

// handshake is the accepting end. taken says that a fabric owns conn now.
func (n *Network) handshake(conn net.Conn) (taken bool, err error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return false, fmt.Errorf("set deadline of handshake: %w", err)
	}
	greeting, err := sendGreeting(conn)
	if err != nil {
		return false, err
	}
	h, body, sum, err := readHello(conn)
	if err != nil {
		return false, errors.Join(err, answer(conn, nil, h.nonce, refusedMalformed, "no hello of this protocol"))
	}
	refuse := func(secret []byte, r refusal, format string, args ...any) (bool, error) {
		reason := fmt.Sprintf(format, args...)
		return false, errors.Join(fmt.Errorf("worker %q, incarnation %d: %s", h.fromWorker, h.incarnation, reason),
			answer(conn, secret, h.nonce, r, reason))
	}
	switch {
	case h.cluster != n.options.Cluster:
		return refuse(nil, refusedCluster, "this worker is of another cluster")
	case h.job != string(n.options.Job):
		return refuse(nil, refusedJob, "this worker runs another job")
	case h.binary != n.options.Binary:
		return refuse(nil, refusedBinary, "this worker runs another binary of the job")
	}
	f, why := n.await(h.incarnation)
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return false, fmt.Errorf("set deadline of handshake: %w", err)
	}
	switch {
	case why == refusedStale:
		return refuse(nil, why, "incarnation %d is over", h.incarnation)
	case why != accepted:
		return refuse(nil, why, "incarnation %d has not been deployed here within %v", h.incarnation, holdTimeout)
	case !hmac.Equal(sum, helloMAC(f.secret, greeting, body)):
		return refuse(nil, refusedSecret, "the job's secret does not match")
	case h.worker != f.worker:
		return refuse(f.secret, refusedWorker, "this is worker %q, not %q", f.worker, h.worker)
	}
	// The smaller id dials.
	if _, known := f.workers[h.fromWorker]; !known || h.fromWorker >= f.worker {
		return refuse(f.secret, refusedWorker, "no connection from worker %q is expected", h.fromWorker)
	}
	p, err := f.peer(h.fromWorker)
	if err != nil {
		return refuse(f.secret, refusedStale, "incarnation %d is over", h.incarnation)
	}
	if !p.claim(conn) {
		return refuse(f.secret, refusedSecond, "worker %q is or was connected already", h.fromWorker)
	}
	// From here on a failure is the peer's: its records have nowhere to go.
	if err := answer(conn, f.secret, h.nonce, accepted, ""); err != nil {
		p.fail(err)
		return true, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		p.fail(fmt.Errorf("clear deadline: %w", err))
		return true, nil
	}
	p.start(conn)
	return true, nil
}

// await waits until the incarnation is deployed here.
func (n *Network) await(i job.Incarnation) (*Fabric, refusal) {
	timeout := time.NewTimer(holdTimeout)
	defer timeout.Stop()
	for {
		n.mu.Lock()
		f, over, changed := n.fabrics[i], i <= n.newest, n.changed
		n.mu.Unlock()
		switch {
		case f != nil:
			return f, accepted
		case over:
			return nil, refusedStale
		}
		select {
		case <-changed:
		case <-timeout.C:
			return nil, refusedUnknown
		case <-n.done:
			return nil, refusedUnknown
		}
	}
}

// dial is the dialling end: the goroutine that makes the connection.
func (p *peer) dial() {
	f := p.fabric
	conn, err := p.connect(f.ctx)
	if err != nil {
		p.fail(err)
		return
	}
	if !p.claim(conn) {
		_ = conn.Close() // the fabric was closed meanwhile
		return
	}
	o := f.network.options
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		p.fail(fmt.Errorf("set deadline of handshake: %w", err))
		return
	}
	err = greet(conn, f.secret, hello{
		incarnation: f.incarnation, binary: o.Binary, cluster: o.Cluster, job: string(o.Job),
		fromWorker: f.worker, worker: p.location.Worker,
	})
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		p.fail(fmt.Errorf("handshake: %w", err))
		return
	}
	p.start(conn)
}

// connect opens the connection: by unix socket if the peer is on this host.
func (p *peer) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	l, o := p.location, p.fabric.network.options
	var unixErr error
	if l.Unix != "" && l.Machine == o.Machine {
		conn, err := o.Dial(ctx, "unix", l.Unix)
		if err == nil {
			return conn, nil
		}
		unixErr = fmt.Errorf("connect to unix socket %s: %w", l.Unix, err)
	}
	if l.TCP == "" {
		return nil, errors.Join(unixErr, fmt.Errorf("worker %s on %q has no TCP address", l.Worker, l.Machine))
	}
	conn, err := o.Dial(ctx, "tcp", l.TCP)
	if err != nil {
		return nil, errors.Join(unixErr, fmt.Errorf("connect to %s: %w", l.TCP, err))
	}
	return conn, nil
}
