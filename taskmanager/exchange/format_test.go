package exchange

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/stream"
	"github.com/weirstream/weir/taskmanager/inflight"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// mixed has what codecs treat differently.
type mixed struct {
	N    int32
	Text string
}

func mixedEdge(t testing.TB) *Edge[mixed] {
	return &Edge[mixed]{Codec: codecOf[mixed](t), Hash: func(m mixed) uint64 { return uint64(m.N) }, HasTimes: true}
}

// TestGolden holds every byte of the wire format. It must not change within
// formatVersion.
func TestGolden(t *testing.T) {
	var text strings.Builder
	show := func(name string, b []byte) { fmt.Fprintf(&text, "# %s\n%s", name, hex.Dump(b)) }

	p := newPeer(&Fabric{incarnation: 7}, Location{})
	seal := func(name string, f *frame) {
		f.seal()
		show(name, f.buf)
	}
	data := p.newFrame(dataFrame, 1, 2, 3)
	b := &stream.Batch[mixed]{
		Values: []mixed{{1, "a"}, {-2, ""}, {3, "weir"}},
		Hashes: []uint64{0x1111, 0x2222, 0x3333}, Times: []int64{-1, 0, 1700000000000},
	}
	mixedEdge(t).encode(data, b, 1, 2)
	seal("data: records 1 and 2 of 3, keyed, timed", data)
	event := p.newFrame(eventFrame, 1, 2, 3)
	event.putEvent(stream.Event{Kind: stream.BarrierEvent, Barrier: stream.Barrier{
		ID: 9, Kind: stream.SavepointBarrier, Age: 1500 * time.Millisecond, Unaligned: true,
	}})
	seal("event: unaligned savepoint barrier", event)
	mark := p.newFrame(eventFrame, 1, 2, 3)
	mark.putEvent(stream.Event{Kind: stream.WatermarkEvent, Time: -5})
	seal("event: watermark", mark)
	p.state = peerConnected
	p.grant(1, 2, 3, 98304)
	p.hint(1, 2, 3, -1)
	seal("credit", p.control[0])
	seal("hint", p.control[1])
	seal("bye", p.newFrame(byeFrame, 0, 0, 0))

	show("pieces: records 1 and 2 of 3, keyed, timed, then the third", slices.Concat(
		inflight.Append(nil, flagHashes|flagTimes, 2, data.payload()), inflight.Append(nil, 0, 1, []byte{1, 2, 3})))

	h := goodHello()
	h.nonce, h.binary = nonce{1, 2, 3}, [32]byte{4, 5, 6}
	body := h.append(nil)
	show("preamble", preamble())
	show("hello body", body)
	show("hello MAC", helloMAC([]byte("secret"), nonce{7}, body))
	var w bytes.Buffer
	if err := answer(&w, []byte("secret"), h.nonce, accepted, ""); err != nil {
		t.Fatal(err)
	}
	if err := answer(&w, nil, h.nonce, refusedStale, "over"); err != nil {
		t.Fatal(err)
	}
	show("answers: accepted, refused", w.Bytes())

	const file = "testdata/format-v2.golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the wire format differs from %s:\n%s", file, text.String())
	}
}

// TestFrameRoundTrip: what encode and putEvent write, decode and event read.
func TestFrameRoundTrip(t *testing.T) {
	e := mixedEdge(t)
	b := e.newBatch(600)
	for i := range 512 {
		b.Values = append(b.Values, mixed{int32(i), strings.Repeat("x", i%7)})
		b.Hashes = append(b.Hashes, uint64(i)<<32)
		b.Times = append(b.Times, int64(-i))
	}
	f := newFrame()
	e.encode(f, b, 0, 512)
	f.seal()
	got, h, err := readFrame(bytes.NewReader(f.buf))
	if err != nil || h.count != 512 {
		t.Fatalf("read a frame of %d records: %v", h.count, err)
	}
	back, err := e.decode(got, nil)
	if err != nil || !reflect.DeepEqual(back.(*stream.Batch[mixed]), b) {
		t.Errorf("decoded batch differs (%v)", err)
	}
	// D3: a decoded string survives its frame.
	text := back.(*stream.Batch[mixed]).Values[6].Text
	clear(got.buf)
	if text != "xxxxxx" {
		t.Errorf("a string changed with the frame's buffer: %q", text)
	}
	for k := stream.BarrierEvent; k <= stream.IdleEvent; k++ {
		want := stream.Event{Kind: k, Time: -3, Barrier: stream.Barrier{ID: 1 << 60, Kind: stream.StopBarrier, Age: time.Hour}}
		f := newFrame()
		f.putEvent(want)
		if got, err := f.event(); err != nil || got != want {
			t.Errorf("event %+v came back as %+v (%v)", want, got, err)
		}
	}
}

// FuzzFrame: no bytes make the reader panic or allocate much more than they are;
// what it accepts is written back the same.
func FuzzFrame(f *testing.F) {
	e := mixedEdge(f)
	good := &frame{buf: make([]byte, headerBytes)}
	header{kind: dataFrame, incarnation: 2}.put(good.buf)
	e.encode(good, &stream.Batch[mixed]{Values: []mixed{{1, "a"}, {2, "bc"}}, Hashes: []uint64{1, 2}, Times: []int64{3, 4}}, 0, 2)
	good.seal()
	f.Add(good.buf)
	f.Add(frameOf(eventFrame, eventPayload(barrier(3)), nil))
	f.Add(slices.Concat(frameOf(creditFrame, "1234", nil), frameOf(hintFrame, "1234", nil), frameOf(byeFrame, "", nil)))
	f.Add(frameOf(dataFrame, "x", func(h *header) { h.length = maxRecordBytes }))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			at := len(in) - r.Len()
			fr, h, err := readFrame(r)
			if err != nil {
				if at == len(in) != errors.Is(err, io.EOF) {
					t.Errorf("error at byte %d of %d: %v", at, len(in), err)
				}
				return
			}
			if !bytes.Equal(fr.buf, in[at:len(in)-r.Len()]) {
				t.Error("the frame is not what was read")
			}
			switch h.kind {
			case dataFrame:
				fuzzDecode(t, e, fr)
			case eventFrame:
				_, _ = fr.event() // an error is fine, a panic is not
			}
			// A second seed for the mutator: the payload alone, under a right checksum.
			fr.seal()
			fr.release()
		}
	})
}

// FuzzPayload decodes payloads that passed the checksum.
func FuzzPayload(f *testing.F) {
	e := mixedEdge(f)
	good := &frame{buf: make([]byte, headerBytes)}
	e.encode(good, &stream.Batch[mixed]{Values: []mixed{{1, "a"}, {2, "bc"}}, Hashes: []uint64{1, 2}, Times: []int64{3, 4}}, 0, 2)
	f.Add(uint16(2), uint8(3), good.payload())
	f.Add(uint16(512), uint8(3), good.payload())
	f.Add(uint16(1), uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, count uint16, flags uint8, payload []byte) {
		fr := &frame{buf: make([]byte, headerBytes)}
		h := header{kind: dataFrame, count: count, flags: flags, length: uint32(len(payload))}
		h.put(fr.buf)
		fr.buf = append(fr.buf, payload...)
		if h.check() == nil {
			fuzzDecode(t, e, fr)
		}
	})
}

func fuzzDecode(t *testing.T, e *Edge[mixed], f *frame) {
	h := f.header()
	got, err := e.decode(f, nil)
	if err != nil {
		return
	}
	b := got.(*stream.Batch[mixed])
	if b.Len() != int(h.count) || len(b.Hashes) != b.Len() || len(b.Times) != b.Len() {
		t.Fatalf("a frame of %d records gives %d values, %d hashes, %d times", h.count, b.Len(), len(b.Hashes), len(b.Times))
	}
}

// FuzzHandshake: neither end's parser panics.
func FuzzHandshake(f *testing.F) {
	body := goodHello().append(nil)
	f.Add(body)
	f.Add(body[:80])
	f.Add(append(append(preamble(), 0xff, 0x00), body...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := parseHello(in); err == nil && !bytes.Equal(h.append(nil), in) {
			t.Error("a hello is not what was read")
		}
		_, _, _, _ = readHello(bytes.NewReader(in))
		if err := readAnswer(bytes.NewReader(in), []byte("secret"), nonce{}); err == nil {
			t.Error("an answer without the secret is believed")
		}
	})
}
