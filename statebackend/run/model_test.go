package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// op is one call of a Writer.
type op struct {
	kind       Kind
	key, value string
}

// model is the ordered map that a list of runs stands for. Keys of state 2 have lists, as
// elements of readList have them.
type model map[string]string

// isList reports whether a key of these tests has a list.
func isList(k string) bool { return k[5] == 2 }

// readList is a list's value, each of its elements (of one byte) with its schema before it.
func readList(v string) string {
	e, payload, err := envelope.Decode([]byte(v))
	if err != nil {
		panic(err)
	}
	pieces, err := envelope.Split(nil, e, payload)
	if err != nil {
		panic(err)
	}
	var s []byte
	for _, p := range pieces {
		if uint64(len(p.Elements)) != p.Count {
			panic(fmt.Sprintf("%d elements of one byte in %x", p.Count, p.Elements))
		}
		for _, b := range p.Elements {
			s = append(s, byte('0'+p.Schema), b)
		}
	}
	return string(s)
}

// apply applies a run: its clears hide what is older, then its points.
func (m model) apply(ops []op, groups stream.KeyGroupRange) {
	visible := func(k string) bool { return groups.Contains(Group([]byte(k))) }
	for _, o := range ops {
		if o.kind == KindClear {
			maps.DeleteFunc(m, func(k, _ string) bool { return k >= o.key && k < o.value && visible(k) })
		}
	}
	for _, o := range ops {
		if !visible(o.key) {
			continue
		}
		switch o.kind {
		case KindSet:
			m[o.key] = o.value
			if isList(o.key) {
				m[o.key] = readList(o.value)
			}
		case KindMerge:
			m[o.key] += readList(o.value)
		case KindDelete:
			delete(m, o.key)
		}
	}
}

var testGroups = []stream.KeyGroup{0, 1, 2, 255, 256, 300, 65534, 65535}

func randomKey(r *rand.Rand) string {
	b := binary.BigEndian.AppendUint16(nil, uint16(testGroups[r.IntN(len(testGroups))]))
	b = binary.BigEndian.AppendUint32(b, uint32(1+r.IntN(2)))
	for range r.IntN(3) {
		b = append(b, byte('a'+r.IntN(3)))
	}
	return string(b)
}

// randomOps makes the calls of one run, in order.
func randomOps(r *rand.Rand) (ops []op) {
	points := map[string]op{}
	for range r.IntN(60) {
		k := randomKey(r)
		switch {
		case r.IntN(3) == 0:
			points[k] = op{KindDelete, k, ""}
		case isList(k):
			n := 1 + r.IntN(3)
			elements := make([]byte, n)
			for i := range elements {
				elements[i] = byte('a' + r.IntN(26))
			}
			v := append(envelope.Append(nil, envelope.Head{Kind: kindList, Schema: uint64(r.IntN(2))}), byte(n))
			points[k] = op{[]Kind{KindSet, KindMerge, KindMerge}[r.IntN(3)], k, string(append(v, elements...))}
		default:
			v := envelope.Append(nil, envelope.Head{Kind: 1, Schema: uint64(r.IntN(2))})
			points[k] = op{KindSet, k, fmt.Sprintf("%s%d", v, r.IntN(1000))}
		}
	}
	keys := slices.Sorted(maps.Keys(points))
	bounds := map[string]bool{}
	for range 2 * r.IntN(4) {
		k := randomKey(r)
		if r.IntN(3) == 0 {
			k = k[:2]
		}
		bounds[k] = true
	}
	sorted := slices.Sorted(maps.Keys(bounds))
	var clears []op
	for i := 0; i+1 < len(sorted); i += 1 + r.IntN(2) {
		clears = append(clears, op{KindClear, sorted[i], sorted[i+1]})
	}
	for _, k := range keys {
		for len(clears) > 0 && clears[0].key <= k {
			ops, clears = append(ops, clears[0]), clears[1:]
		}
		ops = append(ops, points[k])
	}
	return append(ops, clears...)
}

func write(t testing.TB, o Options, ops []op) Run {
	t.Helper()
	w, err := NewWriter(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range ops {
		if err := w.Add(Entry{Key: []byte(o.key), Value: []byte(o.value), Kind: o.kind}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func collect(t testing.TB, s Source) model {
	t.Helper()
	m := model{}
	last := ""
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		if e.Kind != KindSet || string(e.Key) <= last {
			t.Fatalf("kind %d, key %x after %x", e.Kind, e.Key, last)
		}
		last = string(e.Key)
		m[last] = string(e.Value)
		if isList(last) {
			m[last] = readList(m[last])
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func mustEqual(t testing.TB, what string, got, want model) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[k]; !ok || g != want[k] {
			t.Errorf("%s: key %x: got %q (%v), want %q", what, k, g, ok, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: key %x: ghost %q", what, k, got[k])
		}
	}
	t.FailNow()
}

func randomRange(r *rand.Rand) stream.KeyGroupRange {
	a, b := testGroups[r.IntN(len(testGroups))], testGroups[r.IntN(len(testGroups))]
	return stream.KeyGroupRange{First: min(a, b), Last: max(a, b)}
}

func randomOptions(r *rand.Rand, fs vfs.FS, id string) Options {
	return Options{
		ID: id, Dir: "/runs", Folder: "shared", FS: fs,
		Schemas:     []Schema{{1, []byte{byte(r.IntN(2))}}}, // values name ordinal 0 or 1
		TargetSize:  []int64{1, 700, 1200, 0}[r.IntN(4)],
		BlockSize:   []int{1, 64, 0}[r.IntN(3)],
		Compression: Compression(r.IntN(2)),
		InlineLimit: []int{0, 1500}[r.IntN(2)],
	}
}

// world is a random list of runs on a MemFS with the calls that made it.
type world struct {
	fs   vfs.FS
	open Opener
	list List
	ops  [][]op

	operands int // in merged runs
}

func newWorld(t testing.TB, r *rand.Rand) *world {
	w := &world{fs: vfs.NewMem()}
	if err := w.fs.MkdirAll("/runs", 0o755); err != nil {
		t.Fatal(err)
	}
	w.open = LocalOpener(w.fs, "/runs")
	for i := range 1 + r.IntN(7) {
		o := randomOptions(r, w.fs, fmt.Sprintf("e1.n1-%d", i))
		ops := randomOps(r)
		run := write(t, o, ops)
		if run.Empty() != (len(ops) == 0) {
			t.Fatalf("%d ops: empty is %v", len(ops), run.Empty())
		}
		if !run.Empty() {
			w.list, w.ops = append(w.list, run), append(w.ops, ops)
		}
	}
	l, err := FromProto(w.list.Proto())
	if err != nil {
		t.Fatal(err)
	}
	w.list = l
	return w
}

func (w *world) model(groups stream.KeyGroupRange) model {
	m := model{}
	for i, ops := range w.ops {
		if v, ok := w.list[i].Visible.Intersect(groups); ok {
			m.apply(ops, v)
		}
	}
	return m
}

// TestModel: reading, clipping, rebasing and ingesting random lists of runs equal an
// ordered map.
func TestModel(t *testing.T) {
	files, inline, rebased, operands := 0, 0, 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, r)
		ctx := t.Context()
		for _, run := range w.list {
			files += len(run.Files)
			if run.Inline != nil {
				inline++
			}
			if err := run.Verify(ctx, w.open); err != nil {
				t.Fatal(err)
			}
		}
		name := func(s string) string { return fmt.Sprintf("seed %d: %s", seed, s) }
		want := w.model(stream.AllKeyGroups)
		mustEqual(t, name("read"), collect(t, w.list.Read(ctx, w.open, stream.AllKeyGroups)), want)
		groups := randomRange(r)
		mustEqual(t, name("clip"), collect(t, w.list.Read(ctx, w.open, groups)), w.model(groups))
		if len(w.list) > 0 {
			rebased++
			w.rebase(t, r, name("rebase"))
			operands += w.operands
		}
		if seed%10 == 0 {
			mustEqual(t, name("ingest"), w.ingest(t), want)
		}
	}
	if files < 250 || inline < 25 || rebased < 100 || operands < 100 {
		t.Fatalf("the test did not take its path: %d files, %d inline, %d rebased, %d operands", files, inline, rebased, operands)
	}
}

// rebase merges adjacent runs within groups, and reads the list with the merged one in
// their place.
func (w *world) rebase(t *testing.T, r *rand.Rand, name string) {
	from := r.IntN(len(w.list))
	to := from + 1 + r.IntN(len(w.list)-from)
	groups := randomRange(r)
	wr, err := NewWriter(randomOptions(r, w.fs, "e1.n1-rebased"))
	if err != nil {
		t.Fatal(err)
	}
	merged := Merge(w.list[from:to].iters(t.Context(), w.open, groups), from == 0)
	if err := errors.Join(Copy(t.Context(), wr, merged), merged.Close()); err != nil {
		t.Fatal(err)
	}
	run, err := wr.Finish()
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Clone(w.list[:from])
	if !run.Empty() {
		list = append(list, run)
	}
	list = append(list, w.list[to:]...)
	mustEqual(t, name, collect(t, list.Clip(groups).Read(t.Context(), w.open, stream.AllKeyGroups)), w.model(groups))
	if !run.Empty() {
		it := NewIter(t.Context(), run, w.open, stream.AllKeyGroups)
		for e, ok := it.Next(); ok; e, ok = it.Next() {
			if from == 0 && e.Kind != KindSet {
				t.Fatalf("%s: kind %d of %x in the oldest run", name, e.Kind, e.Key)
			}
			if e.Kind == KindMerge {
				w.operands++
			}
		}
		it.Close()
	}
}

// ingest puts the runs into a real Pebble in list order and reads it whole.
func (w *world) ingest(t *testing.T) model {
	db, err := pebble.Open("/db", &pebble.Options{FS: w.fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}, Merger: merger})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, r := range w.list {
		var paths []string
		if r.Inline != nil {
			r.Files = []File{{Name: r.ID + "-0.sst"}}
			f, err := w.fs.Create("/runs/"+r.ID+"-0.sst", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(r.Inline)
			f.Close()
		}
		for _, f := range r.Files {
			paths = append(paths, "/runs/"+f.Base())
		}
		if err := db.Ingest(context.Background(), paths); err != nil {
			t.Fatal(err)
		}
	}
	read := func() model {
		it, err := db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Close()
		m := model{}
		for it.First(); it.Valid(); it.Next() {
			m[string(it.Key())] = string(it.Value())
			if k := string(it.Key()); isList(k) {
				m[k] = readList(m[k])
			}
		}
		if err := it.Error(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := read()
	if err := db.Compact(context.Background(), []byte{0}, bytes.Repeat([]byte{0xff}, 8), false); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "after compaction", read(), before)
	return before
}

// merger joins as that of statebackend/pebble does.
var merger = &pebble.Merger{Name: MergerName, Merge: func(_, value []byte) (pebble.ValueMerger, error) {
	return &joiner{[][]byte{bytes.Clone(value)}}, nil
}}

type joiner struct{ values [][]byte } // oldest first

func (j *joiner) MergeNewer(v []byte) error {
	j.values = append(j.values, bytes.Clone(v))
	return nil
}

func (j *joiner) MergeOlder(v []byte) error {
	j.values = slices.Insert(j.values, 0, bytes.Clone(v))
	return nil
}

func (j *joiner) Finish(bool) ([]byte, io.Closer, error) {
	v, err := envelope.Join(nil, j.values...)
	return v, nil, err
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// TestSharedRunListedTwice: after 1 → 2 → 1 subtasks a list holds the same run twice,
// each time for other groups, with deltas between.
func TestSharedRunListedTwice(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, r)
		if len(w.list) < 3 {
			continue
		}
		low, high := stream.KeyGroupRange{First: 0, Last: 255}, stream.KeyGroupRange{First: 256, Last: 65535}
		base, a, b := w.list[0], w.list[1], w.list[2]
		list := append(List{base, a}.Clip(low), List{base, b}.Clip(high)...)
		want := model{}
		want.apply(w.ops[0], stream.AllKeyGroups)
		want.apply(w.ops[1], low)
		want.apply(w.ops[2], high)
		mustEqual(t, fmt.Sprint("seed ", seed), collect(t, list.Read(t.Context(), w.open, stream.AllKeyGroups)), want)
		if n := list.Overlap(); n > 2 {
			t.Fatalf("overlap %d", n)
		}
	}
}

// TestReadFromStore: what is uploaded is what was written.
func TestReadFromStore(t *testing.T) {
	dir := t.TempDir()
	o := Options{ID: "e1.n1-0", Dir: dir, Folder: "job/shared", TargetSize: 1}
	ops := randomOps(rand.New(rand.NewPCG(5, 5)))
	r := write(t, o, ops)
	s, err := objstore.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	upload(t, r, s, nil, dir)
	want := model{}
	want.apply(ops, stream.AllKeyGroups)
	mustEqual(t, "read", collect(t, List{r}.Read(t.Context(), s.Open, stream.AllKeyGroups)), want)
	if err := r.Verify(t.Context(), s.Open); err != nil {
		t.Fatal(err)
	}
}

// TestBubbles: runs are written and read in one synctest bubble after another (Pebble
// pools channels in its older table formats, which a second bubble may not touch).
func TestBubbles(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, rand.New(rand.NewPCG(seed, 4)))
			mustEqual(t, "read", collect(t, w.list.Read(t.Context(), w.open, stream.AllKeyGroups)), w.model(stream.AllKeyGroups))
		})
	}
}
