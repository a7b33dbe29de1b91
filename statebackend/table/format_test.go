package table

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

// lines is a Sink that keeps what it is given as text.
type lines struct{ b strings.Builder }

func (l *lines) Set(k, v []byte) error {
	fmt.Fprintf(&l.b, "%s = %s\n", hex.EncodeToString(k), hex.EncodeToString(v))
	return nil
}

func (l *lines) Merge(k, v []byte) error {
	fmt.Fprintf(&l.b, "%s + %s\n", hex.EncodeToString(k), hex.EncodeToString(v))
	return nil
}

func (l *lines) Delete(k []byte) error {
	fmt.Fprintf(&l.b, "%s gone\n", hex.EncodeToString(k))
	return nil
}

// TestFormat is the golden test of keys and values in a run. NB: persisted; a
// change here breaks every snapshot.
func TestFormat(t *testing.T) {
	w := newWorld(t, true, nil)
	w.key(7)
	w.num.Set(-2)
	w.text.Set("ab")
	w.list.Append("x", "yz")
	w.dict.Set("k\x00", 1)
	w.timer.Register(-1)
	w.timer.Register(5)
	c, err := w.s.Freeze(false)
	if err != nil {
		t.Fatal(err)
	}
	w.num.Clear()
	for !w.s.CopyFrozen(1) {
	}
	var got lines
	if err := c.Encode(&got); err != nil {
		t.Fatal(err)
	}
	w.s.Durable(c)
	if c, err = w.s.Freeze(false); err != nil {
		t.Fatal(err)
	}
	for !w.s.CopyFrozen(1) {
	}
	if err := c.Encode(&got); err != nil {
		t.Fatal(err)
	}
	var want string
	for _, line := range []string{
		"000000010000000000000007 = 0100026162",
		"0000000200000000000000076b00ff0001 = 03000100000000000000",
		"000000030000000000000007 = 0200020178" + "02797a",
		"000000047fffffffffffffff0000000000000007 = 0600",
		"0000000480000000000000050000000000000007 = 0600",
		"000000050000000000000007 = 0100feffffffffffffff",
		"000000050000000000000007 gone",
	} {
		want += "f8c0" + line + "\n"
	}
	if got.b.String() != want {
		t.Errorf("a cut of one key is\n%swant\n%s", got.b.String(), want)
	}
}

// FuzzLoad feeds a store with what may stand in a damaged run.
func FuzzLoad(f *testing.F) {
	w := newWorld(&testing.T{}, false, nil)
	w.key(7)
	w.list.Append("x", "yz")
	w.dict.Set("k\x00", 1)
	w.timer.Register(5)
	w.num.Set(4)
	c, err := w.s.Freeze(false)
	if err != nil {
		f.Fatal(err)
	}
	for !w.s.CopyFrozen(100) {
	}
	if err := c.Encode(seed{f}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		w := newWorld(t, false, nil)
		if err := w.s.Load(key, value); err != nil {
			if !errors.Is(err, statebackend.ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		// What was taken is written again as it was, but for pieces.
		if head, _, err := envelope.Decode(value); err != nil || head.Pieces {
			return
		}
		c, err := w.s.Freeze(true)
		if err != nil {
			t.Fatal(err)
		}
		for !w.s.CopyFrozen(100) {
		}
		var got, want lines
		if err := c.Encode(&got); err != nil {
			t.Fatal(err)
		}
		if _ = want.Set(key, value); got.b.Len() > 0 && got.b.String() != want.b.String() {
			t.Fatalf("loaded %s, cut %s", want.b.String(), got.b.String())
		}
	})
}

type seed struct{ f *testing.F }

func (s seed) Set(k, v []byte) error {
	s.f.Add(append([]byte(nil), k...), append([]byte(nil), v...))
	return nil
}
func (s seed) Merge(k, v []byte) error { return s.Set(k, v) }
func (s seed) Delete([]byte) error     { return nil }

func TestUnboundHandlesPanic(t *testing.T) {
	d := desc(1, "total", metapb.StateKind_STATE_KIND_VALUE)
	for name, use := range map[string]func(){
		"Value.Get":      func() { UnboundValue[int64](d).Get() },
		"Value.Set":      func() { UnboundValue[int64](d).Set(1) },
		"Value.Clear":    func() { UnboundValue[int64](d).Clear() },
		"List.Append":    func() { UnboundList[int64](d).Append(1) },
		"List.Len":       func() { UnboundList[int64](d).Len() },
		"Map.Len":        func() { UnboundMap[string, int64](d).Len() },
		"Map.Clear":      func() { UnboundMap[string, int64](d).Clear() },
		"Timers":         func() { UnboundTimers(d).Register(1) },
		"Timers.Due":     func() { UnboundTimers(d).Due(1) },
		"Value.Get zero": func() { new(Value[int64]).Get() },
	} {
		func() {
			defer func() {
				r := fmt.Sprint(recover())
				if name != "Value.Get zero" && !strings.Contains(r, `state "total" used outside a running operator`) || !strings.HasPrefix(r, "weir: ") {
					t.Errorf("%s of an unbound handle: %s", name, r)
				}
			}()
			use()
		}()
	}
}

// TestOverBudget: without a cold tier the error names the largest state, once.
func TestOverBudget(t *testing.T) {
	var errs []error
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8, Budget: 100 << 10, Fail: func(err error) { errs = append(errs, err) }})
	small, err := NewValue(s, desc(1, "small", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		t.Fatal(err)
	}
	large, err := NewValue(s, desc(2, "large", metapb.StateKind_STATE_KIND_VALUE), stringCodec{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(2000) {
		s.SetWord(wordKey(i))
		small.Set(1)
		large.Set(strings.Repeat("x", 100))
	}
	if len(errs) != 1 || !errors.Is(errs[0], statebackend.ErrBudget) || !strings.Contains(errs[0].Error(), `"large"`) || s.Err() != errs[0] {
		t.Fatalf("errors over budget: %v", errs)
	}
}

// TestSmallStateIsSmall: a job of 100 keys must not take MiBs.
func TestSmallStateIsSmall(t *testing.T) {
	w := newWorld(t, true, nil)
	for i := range 100 {
		w.key(i)
		w.num.Set(1)
		w.text.Set("x")
	}
	if m := w.s.Memory(); m > 150<<10 {
		t.Errorf("100 keys with two values take %d bytes", m)
	}
}

// TestEvictionDuringCutIsABug is A2: dirty entries must not leave while a cut is
// being written.
func TestEvictionDuringCutIsABug(t *testing.T) {
	d := &disk{m: map[string][]byte{}}
	w := newWorld(t, true, d)
	w.key(1)
	w.num.Set(1)
	c, err := w.s.Freeze(false)
	if err != nil {
		t.Fatal(err)
	}
	w.num.Set(2)
	for !w.s.CopyFrozen(10) {
	}
	func() {
		defer func() {
			if r := fmt.Sprint(recover()); !strings.Contains(r, "A2") {
				t.Errorf("CutBundles during a cut: %s", r)
			}
		}()
		w.s.CutBundles(0, 1)
	}()
	// The clean way leaves both what is dirty and what is being written.
	for range 3 {
		for b := range w.s.Bundles() {
			w.s.DropClean(b)
		}
	}
	if err := c.Encode(d); err != nil {
		t.Fatal(err)
	}
	w.s.Durable(c)
	w.key(1)
	if v, _ := w.num.Get(); v != 2 {
		t.Errorf("value is %d after the cut, want 2 (A2)", v)
	}
}
