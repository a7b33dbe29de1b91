package exchange

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/job"
)

// peerState is the phase of a peer:
//
//	peerAwaited → peerGreeting → peerConnected → peerLeft    it said bye
//	     │             │              ├────────→ peerFailed  refused or broken
//	     └─────────────┴──────────────┴────────→ peerClosed  we closed the fabric
type peerState uint8

const (
	peerAwaited   peerState = iota // there is no connection yet
	peerGreeting                   // there is one, in its handshake
	peerConnected                  // frames flow
	peerLeft
	peerFailed
	peerClosed
)

// peer is another worker as one incarnation sees it: the one connection to it and
// what is to be written there.
type peer struct {
	// Immutable after newPeer.
	fabric   *Fabric
	location Location

	mu   sync.Mutex
	work *sync.Cond // there is something to write, or the state changed
	// Guarded by mu.
	state   peerState
	conn    net.Conn // from peerGreeting on
	control []*frame // credits and hints: they overtake data
	data    []*frame // data and events, each channel's in order
	lanes   map[laneKey]*remoteLane
}

type laneKey struct{ edge, from, to int }

const (
	// writeBytes is how much is gathered for one write: a few full frames.
	writeBytes = 4 * frameCost
	// readBytes holds the headers and small frames of a read; larger payloads are read
	// straight into their frame.
	readBytes = 64 << 10
	// byeTimeout bounds the wait for a peer that does not read while we close.
	byeTimeout = time.Second
	// maxEarlyEvents bounds the events kept for a consumer that is not deployed yet;
	// a barrier a second for a quarter of an hour.
	maxEarlyEvents = 1024
)

// errViolation marks a peer that does not keep to the protocol.
var errViolation = errors.New("protocol violation")

func newPeer(f *Fabric, l Location) *peer {
	p := &peer{fabric: f, location: l, lanes: map[laneKey]*remoteLane{}}
	p.work = sync.NewCond(&p.mu)
	return p
}

// dials reports whether it is this worker that connects: the smaller id does.
func (p *peer) dials() bool { return p.fabric.worker < p.location.Worker }

func (p *peer) newFrame(kind frameKind, edge, from, to int) *frame {
	f := newFrame()
	h := header{
		kind: kind, edge: uint32(edge), from: uint32(from), to: uint32(to),
		incarnation: p.fabric.incarnation,
	}
	h.put(f.buf)
	return f
}

// lane returns the producer's end of a channel to the peer.
func (p *peer) lane(edge, from, to int) *remoteLane {
	k := laneKey{edge, from, to}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[k]
	if l == nil {
		l = &remoteLane{peer: p, edge: edge, from: from, to: to, mayOvertake: overtakes(p.fabric.graph.Edges[edge])}
		p.lanes[k] = l
	}
	return l
}

// enqueue gives f to the writing goroutine. Frames for a peer that is gone are
// dropped: the incarnation ends.
func (p *peer) enqueue(f *frame) {
	p.mu.Lock()
	if p.state > peerConnected {
		p.mu.Unlock()
		f.release()
		return
	}
	if k := f.header().kind; k == creditFrame || k == hintFrame {
		p.control = append(p.control, f)
	} else {
		p.data = append(p.data, f)
	}
	p.mu.Unlock()
	p.work.Signal()
}

// grant returns credit to the producer of a channel.
func (p *peer) grant(edge, from, to int, bytes int64) {
	f := p.newFrame(creditFrame, edge, from, to)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(bytes))
	p.enqueue(f)
}

// hint tells the producer of a channel what its consumer wants.
func (p *peer) hint(edge, from, to, want int) {
	f := p.newFrame(hintFrame, edge, from, to)
	f.buf = binary.LittleEndian.AppendUint32(f.buf, uint32(int32(want)))
	p.enqueue(f)
}

// claim takes conn as the peer's connection, which is in its handshake; false if
// none is awaited.
func (p *peer) claim(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != peerAwaited {
		return false
	}
	p.state, p.conn = peerGreeting, conn
	return true
}

// start lets frames flow after the handshake, unless the peer has ended meanwhile.
// The connection's goroutines belong to the fabric.
func (p *peer) start(conn net.Conn) {
	f := p.fabric
	f.mu.Lock()
	defer f.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.closed || p.state != peerGreeting {
		return // whoever ended it closes conn
	}
	p.state = peerConnected
	f.goroutines.Go(func() { p.read(conn) })
	f.goroutines.Go(func() { p.write(conn) })
}

// fail ends the connection because of err and reports the peer, once.
func (p *peer) fail(err error) {
	if !p.end(peerFailed) {
		return
	}
	p.fabric.report(p.location.Worker, err)
}

// end leaves the states in which frames flow; false if another call did before.
func (p *peer) end(s peerState) bool {
	p.mu.Lock()
	before, conn := p.state, p.conn
	if before > peerConnected {
		p.mu.Unlock()
		return false
	}
	p.state = s
	for _, f := range slices.Concat(p.control, p.data) {
		f.release()
	}
	p.data, p.control = nil, nil
	p.mu.Unlock()
	p.work.Broadcast()
	switch {
	case conn == nil:
	case s == peerClosed && before == peerConnected:
		// The writer says bye and closes; it must not hang on a peer that does not read.
		// An error means that the connection is broken: then there is nothing to bound.
		_ = conn.SetDeadline(time.Now().Add(byeTimeout))
	default:
		_ = conn.Close() // what matters has been reported
	}
	return true
}

// write is the writing goroutine: it gathers the frames of all channels into few
// writes.
func (p *peer) write(conn net.Conn) {
	buf := make([]byte, 0, writeBytes)
	var frames []*frame
	broken := false
	for {
		p.mu.Lock()
		for p.state == peerConnected && len(p.control) == 0 && len(p.data) == 0 {
			p.work.Wait()
		}
		state := p.state
		frames = append(append(frames[:0], p.control...), p.data...)
		clear(p.control)
		clear(p.data)
		p.control, p.data = p.control[:0], p.data[:0]
		p.mu.Unlock()
		if state != peerConnected {
			if state == peerClosed {
				bye := p.newFrame(byeFrame, 0, 0, 0)
				bye.seal()
				// The peer learns of our end by the bye or by the broken connection.
				_, _ = conn.Write(bye.buf)
				bye.release()
				_ = conn.Close()
			}
			return
		}
		if broken {
			continue
		}
		if err := writeFrames(conn, buf, frames); err != nil {
			// The peer may have said bye and closed with our frames on their way, so the
			// reading goroutine, which finds the bye or the break, decides. It need not wait
			// for long: what the peer wrote before is here.
			broken = true
			p.fabric.network.options.Log.Debug("data connection takes no more", "worker", p.location.Worker, "error", err)
			_ = conn.SetReadDeadline(time.Now().Add(byeTimeout)) // an error: it is closed
		}
		clear(frames)
	}
}

// writeFrames seals, writes and releases frames; buf is what it gathers them in.
func writeFrames(conn net.Conn, buf []byte, frames []*frame) (err error) {
	buf = buf[:0]
	for i, f := range frames {
		f.addAge()
		f.seal()
		last := i == len(frames)-1
		if len(buf) > 0 && len(buf)+len(f.buf) > cap(buf) {
			if err == nil {
				_, err = conn.Write(buf)
			}
			buf = buf[:0]
		}
		switch {
		case err != nil:
		case len(buf) == 0 && (last || len(f.buf) >= cap(buf)):
			_, err = conn.Write(f.buf)
		default:
			buf = append(buf, f.buf...)
		}
		f.release()
	}
	if len(buf) > 0 && err == nil {
		_, err = conn.Write(buf)
	}
	return err
}

// read is the reading goroutine. It never waits for a consumer: what may come is
// bounded by credit.
func (p *peer) read(conn net.Conn) {
	r := bufio.NewReaderSize(conn, readBytes)
	for {
		f, h, err := readFrame(r)
		switch {
		case errors.Is(err, io.EOF):
			p.fail(errors.New("the worker closed the connection without a word; its process has ended"))
			return
		case err != nil:
			p.fail(fmt.Errorf("read frame: %w", err))
			return
		case h.kind == byeFrame:
			f.release()
			p.end(peerLeft)
			return
		}
		if h.incarnation != p.fabric.incarnation {
			p.fabric.stale.Add(1)
			f.release()
			continue
		}
		if err := p.take(f, h); err != nil {
			p.fail(err)
			return
		}
	}
}

// take gives a frame to whom it belongs, after checking that its channel exists
// and leads from or to the peer. It owns f.
func (p *peer) take(f *frame, h header) error {
	graph := p.fabric.graph
	if int64(h.edge) >= int64(len(graph.Edges)) {
		f.release()
		return fmt.Errorf("%w: frame of edge %d of %d", errViolation, h.edge, len(graph.Edges))
	}
	e := graph.Edges[h.edge]
	from := job.SubtaskID{Vertex: e.From, Index: int(h.from)}
	to := job.SubtaskID{Vertex: e.To, Index: int(h.to)}
	source, sink := from, to
	if h.kind == creditFrame || h.kind == hintFrame {
		source, sink = to, from
	}
	// An id that does not exist has no location, and "" is nobody's worker.
	if p.fabric.locations[source].Worker != p.location.Worker || !p.fabric.here(sink) {
		f.release()
		return fmt.Errorf("%w: frame of channel %v to %v of edge %d", errViolation, from, to, h.edge)
	}
	switch h.kind {
	case creditFrame:
		bytes := int64(binary.LittleEndian.Uint32(f.payload()))
		f.release()
		p.lane(int(h.edge), from.Index, to.Index).granted(bytes)
		return nil
	case hintFrame:
		want := int(int32(binary.LittleEndian.Uint32(f.payload())))
		f.release()
		p.lane(int(h.edge), from.Index, to.Index).hintFrom(want)
		return nil
	}
	g, err := p.fabric.gate(to)
	if err != nil { // closed: this connection ends too
		f.release()
		return nil
	}
	c := g.channelFrom(int(h.edge), from.Index)
	if c == nil {
		f.release()
		return fmt.Errorf("%w: there is no channel %v to %v of edge %d", errViolation, from, to, h.edge)
	}
	if h.kind == eventFrame {
		return c.arriveEvent(f)
	}
	return c.arriveData(f)
}

// arriveData queues a data frame of another worker.
func (c *channel) arriveData(f *frame) error {
	g := c.gate
	g.mu.Lock()
	switch {
	case g.state == gateClosed:
		g.mu.Unlock()
		f.release()
		return nil
	case g.state == gateAwaited, c.unacked+c.owed >= c.window+c.overdraft:
		unacked := c.unacked + c.owed
		g.mu.Unlock()
		f.release()
		return fmt.Errorf("%w: channel %v to %v of edge %d sends without credit; %d bytes of %d are not consumed",
			errViolation, c.from, g.subtask, c.edge, unacked, c.window)
	}
	c.unacked += f.cost()
	wake := g.arriveLocked(c, entry{frame: f})
	g.mu.Unlock()
	if wake != nil {
		wake()
	}
	return nil
}

// arriveEvent queues an event of another worker.
func (c *channel) arriveEvent(f *frame) error {
	e, err := f.event()
	f.release()
	if err != nil {
		return err
	}
	g := c.gate
	g.mu.Lock()
	early := g.state == gateAwaited && c.queue.Len() >= maxEarlyEvents
	g.mu.Unlock()
	if early {
		return fmt.Errorf("%w: more than %d events for subtask %v, which is not deployed", errViolation, maxEarlyEvents, g.subtask)
	}
	c.handOverEvent(e)
	return nil
}
