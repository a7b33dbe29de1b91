package exchange

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/stream"
)

// frameOf builds the frame of a channel of apart in incarnation 2.
func frameOf(kind frameKind, payload string, change func(h *header)) []byte {
	h := header{kind: kind, incarnation: 2}
	if kind == dataFrame {
		h.count = 1
	}
	if change != nil {
		change(&h)
	}
	f := &frame{buf: make([]byte, headerBytes)}
	h.put(f.buf)
	f.buf = append(f.buf, payload...)
	f.seal()
	return f.buf
}

func eventPayload(e stream.Event) string {
	f := newFrame()
	f.putEvent(e)
	return string(f.payload())
}

// TestBadFrames: each bad frame breaks the connection with a reason, and nothing
// else.
func TestBadFrames(t *testing.T) {
	one := string(binary.LittleEndian.AppendUint64(nil, 1))
	end := eventPayload(endOfInput)
	flip := func(b []byte, at int) []byte {
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"garbage":        {[]byte(strings.Repeat("garbage!", 10)), "unknown kind"},
		"bit flip":       {flip(frameOf(dataFrame, one, nil), headerBytes+3), "checksum"},
		"header flip":    {flip(frameOf(eventFrame, end, nil), 20), "checksum"},
		"truncated":      {frameOf(dataFrame, one, nil)[:headerBytes+4], "ends inside its payload of 8 bytes"},
		"half a header":  {frameOf(dataFrame, one, nil)[:9], "ends inside its header"},
		"oversized":      {frameOf(dataFrame, strings.Repeat("x", frameBytes+1), func(h *header) { h.count = 2 }), "the most is 32768"},
		"no records":     {frameOf(dataFrame, one, func(h *header) { h.count = 0 }), "0 records"},
		"many records":   {frameOf(dataFrame, one, func(h *header) { h.count = 513 }), "513 records"},
		"flags":          {frameOf(dataFrame, one, func(h *header) { h.flags = 4 }), "unknown flags"},
		"edge":           {frameOf(dataFrame, one, func(h *header) { h.edge = 1 }), "edge 1 of 1"},
		"producer":       {frameOf(dataFrame, one, func(h *header) { h.from = 1 }), "violation"},
		"consumer":       {frameOf(dataFrame, one, func(h *header) { h.to = 1 }), "violation"},
		"huge index":     {frameOf(eventFrame, end, func(h *header) { h.from = 1<<32 - 1 }), "violation"},
		"foreign credit": {frameOf(creditFrame, "1234", nil), "violation"},
		"event kind":     {frameOf(eventFrame, strings.Repeat("\x09", eventBytes), nil), "unknown event"},
		"event length":   {frameOf(eventFrame, end[1:], nil), "kind 2 with 35 bytes"},
		"credit length":  {frameOf(creditFrame, "12345", nil), "kind 3 with 5 bytes"},
		"long bye":       {frameOf(byeFrame, "x", nil), "kind 5 with 1 bytes"},
		"no credit":      {slices.Repeat(frameOf(dataFrame, strings.Repeat("x", frameBytes), nil), 30), "sends without credit"},
		"payload":        {frameOf(dataFrame, "short", nil), "decode frame"},
		"long payload":   {frameOf(dataFrame, one+one, nil), "1 records take 8 of 16 bytes"},
		"hashes":         {frameOf(dataFrame, one+one, func(h *header) { h.flags = flagHashes }), "flags 0x1"},
		"end":            {nil, "closed the connection without a word"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAcceptor(t)
				conn := a.knock(t)
				if err := greet(conn, []byte("secret"), goodHello()); err != nil {
					t.Fatal(err)
				}
				go io.Copy(io.Discard, conn)
				conn.Write(c.bytes)
				synctest.Wait()
				a.gate.Poll()
				if c.want != "decode frame" {
					conn.Close()
				}
				synctest.Wait()
				select {
				case err := <-a.fabric.Failed():
					if err.Worker != "a" || !strings.Contains(err.Error(), c.want) {
						t.Errorf("failure %v, want one of worker a with %q", err, c.want)
					}
				default:
					t.Error("nothing failed")
				}
			})
		})
	}
}

// TestStaleFrames: frames of another incarnation are dropped and counted.
func TestStaleFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		conn := a.knock(t)
		if err := greet(conn, []byte("secret"), goodHello()); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		one := string(binary.LittleEndian.AppendUint64(nil, 1))
		for range 3 {
			conn.Write(frameOf(dataFrame, one, func(h *header) { h.incarnation = 1 }))
		}
		conn.Write(frameOf(eventFrame, eventPayload(endOfInput), nil))
		if it := a.gate.next(); it.Event.Kind != stream.EndOfInputEvent || a.fabric.Stale() != 3 {
			t.Errorf("got %+v after %d stale frames, want the event after 3", it, a.fabric.Stale())
		}
	})
}

// TestNothingAfterBadPayload: what follows records that cannot be decoded is not
// delivered, or a barrier would pass for all records having come.
func TestNothingAfterBadPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcceptor(t)
		conn := a.knock(t)
		if err := greet(conn, []byte("secret"), goodHello()); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		conn.Write(frameOf(dataFrame, "short", nil))
		conn.Write(frameOf(eventFrame, eventPayload(barrier(1)), nil))
		synctest.Wait()
		for range 2 {
			if it, ok := a.gate.Poll(); ok {
				t.Errorf("after a bad payload comes %+v", it)
			}
			a.gate.Unblock(0)
		}
		if err := <-a.fabric.Failed(); err.Worker != "a" {
			t.Errorf("the failure is of worker %s", err.Worker)
		}
	})
}
