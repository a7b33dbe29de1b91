package run

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

func key(group uint16, rest string) string {
	return string([]byte{byte(group >> 8), byte(group), 0, 0, 0, 1}) + rest
}

func TestOrderIsKept(t *testing.T) {
	type calls func(w *Writer) error
	set := func(k string) calls { return func(w *Writer) error { return w.Set([]byte(k), []byte{1, 0}) } }
	del := func(k string) calls { return func(w *Writer) error { return w.Delete([]byte(k)) } }
	clr := func(a, b string) calls { return func(w *Writer) error { return w.ClearRange([]byte(a), []byte(b)) } }
	a, b, c, d := key(1, "a"), key(1, "b"), key(1, "c"), key(2, "d")
	for name, seq := range map[string][]calls{
		"same key twice":             {set(a), del(a)},
		"descending":                 {set(b), set(a)},
		"too short":                  {set("\x00\x01\x00\x00\x00")},
		"state id that is no id":     {set("\xff\xff\xff\xff\xff\xff")},
		"clear after its point":      {set(a), clr(a, b)},
		"point before its clear":     {clr(b, c), set(a)},
		"clears overlap":             {clr(a, c), clr(b, d)},
		"clears overlap over points": {clr(a, c), set(b), clr(key(1, "bb"), d)},
		"empty clear":                {clr(a, a)},
		"inverted clear":             {clr(b, a)},
	} {
		w, err := NewWriter(Options{ID: "x", FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		for i, call := range seq {
			err := call(w)
			if last := i == len(seq)-1; (err != nil) != last {
				t.Errorf("%s: call %d: %v", name, i, err)
			} else if last && !strings.Contains(err.Error(), "BUG") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Finish(); err == nil {
			t.Errorf("%s: finished", name)
		}
	}
	// Allowed: a clear that begins at its first point, touching clears, a clear from
	// inside of which points have been written.
	fs := vfs.NewMem()
	w, err := NewWriter(Options{ID: "x", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	for i, call := range []calls{clr(a, b), set(a), clr(b, c), del(b), set(c), clr(d, d+"\x00")} {
		if err := call(w); err != nil {
			t.Fatal(i, err)
		}
	}
	r, err := w.Finish()
	if err != nil || r.Entries != 6 || r.Visible != (stream.KeyGroupRange{First: 1, Last: 2}) {
		t.Fatal(r, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{}, {ID: "../x"}, {ID: "a/b"}, {ID: ".x"}, {ID: strings.Repeat("x", 161)}, {ID: "x", TargetSize: -1}, {ID: "x", BlockSize: 1 << 21}, {ID: "x", InlineLimit: -1}} {
		if _, err := NewWriter(o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

// TestFilesEndAtKeyGroups: a file ends at a new key group if one comes soon after
// the target size.
func TestFilesEndAtKeyGroups(t *testing.T) {
	var ops []op
	for g := range 200 {
		for i := range 100 {
			ops = append(ops, op{KindSet, key(uint16(g), fmt.Sprintf("%04d", i)), "\x01\x00" + strings.Repeat("v", 20)})
		}
	}
	fs := vfs.NewMem()
	r := write(t, Options{ID: "x", FS: fs, TargetSize: 64 << 10, BlockSize: 1024, Compression: NoCompression}, ops)
	if len(r.Files) < 4 || r.Entries != uint64(len(ops)) {
		t.Fatalf("%d files, %d entries", len(r.Files), r.Entries)
	}
	for i, f := range r.Files {
		if i > 0 && Group(f.Smallest) == Group(r.Files[i-1].Largest) {
			t.Errorf("file %d begins in the middle of group %d", i, Group(f.Smallest))
		}
		if f.Size > 80<<10 {
			t.Errorf("file %d has %d bytes", i, f.Size)
		}
	}
	// One group alone is divided too.
	r = write(t, Options{ID: "y", FS: fs, TargetSize: 1 << 10, BlockSize: 64, Compression: NoCompression}, ops[:100])
	if len(r.Files) < 2 {
		t.Fatalf("%d files", len(r.Files))
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	ops := randomOps(rand.New(rand.NewPCG(5, 5)))
	list := func(fs vfs.FS) []string {
		l, err := fs.List("/runs")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	// A full disk at each write, sync and create in turn.
	failed := 0
	for n := int32(0); ; n++ {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/runs", 0o755); err != nil {
			t.Fatal(err)
		}
		inj := errorfs.OnIndex(n)
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpFileClose {
				return nil
			}
			if inj.MaybeError(op) != nil {
				return syscall.ENOSPC
			}
			return nil
		}))
		w, err := NewWriter(Options{ID: "x", FS: fs, Dir: "/runs", TargetSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range ops {
			w.Add(Entry{Key: []byte(o.key), Value: []byte(o.value), Kind: o.kind})
		}
		r, err := w.Finish()
		if err == nil {
			if err := r.Verify(t.Context(), LocalOpener(mem, "/runs")); err != nil || len(list(mem)) != len(r.Files) {
				t.Fatal(err, list(mem))
			}
			break
		}
		failed++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fault %d: %v", n, err)
		}
		if left := list(mem); len(left) > 0 {
			t.Fatalf("fault %d leaves %q", n, left)
		}
	}
	if failed < 5 {
		t.Fatalf("only %d faults", failed)
	}
	// Abort in the middle.
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/runs", 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(Options{ID: "x", FS: mem, Dir: "/runs"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Set([]byte(key(1, "a")), []byte{1, 0}); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil || len(list(mem)) > 0 {
		t.Fatal(err, list(mem))
	}
}

func runOver(id string, bytes int64, keys ...string) Run {
	r := Run{ID: id, Bytes: bytes, Entries: 1, Visible: stream.AllKeyGroups}
	for i := 0; i < len(keys); i += 2 {
		r.Files = append(r.Files, File{Name: id, Smallest: []byte(keys[i]), Largest: []byte(keys[i+1])})
	}
	return r
}

func TestOverlapAndPlan(t *testing.T) {
	a, b, c, d := key(1, "a"), key(1, "b"), key(2, "c"), key(2, "d")
	disjoint := List{runOver("0", 9, a, b), runOver("1", 9, c, d)}
	if n := disjoint.Overlap(); n != 1 {
		t.Fatal(n)
	}
	if n := (List{runOver("0", 9, a, c), runOver("1", 9, b, d), runOver("2", 9, a, a, d, d)}).Overlap(); n != 2 {
		t.Fatal(n)
	}
	if n := (List{runOver("0", 9, a, b, b, c), runOver("1", 9, c, d)}).Overlap(); n != 2 {
		t.Fatal(n)
	}
	if from, to := disjoint.PlanRebase(1); from != to {
		t.Fatal(from, to)
	}
	// A large old run and 8 small ones: only small ones are merged.
	l := List{runOver("base", 1<<30, a, d)}
	for i := range 8 {
		l = append(l, runOver(fmt.Sprint(i), 1<<10, a, d))
	}
	if from, to := l.PlanRebase(8); from != 1 || to != 9 {
		t.Fatal(from, to)
	}
	// For now, only as many as must be, unless older ones are no larger.
	if from, to := l.PlanSmall(8, 1<<40); from != 1 || to != 9 {
		t.Fatal(from, to)
	}
	sizes := List{}
	for i, n := range []int64{9000, 900, 400, 200, 90, 40, 20, 9, 4} {
		sizes = append(sizes, runOver(fmt.Sprint(i), n, a, d))
	}
	if from, to := sizes.PlanSmall(8, 1<<40); from != 7 || to != 9 {
		t.Fatal(from, to)
	}
	if from, to := sizes.PlanSmall(5, 1<<40); from != 4 || to != 9 {
		t.Fatal(from, to)
	}
	equal := List{}
	for i := range 9 {
		equal = append(equal, runOver(fmt.Sprint(i), 100, a, d))
	}
	for bytes, first := range map[int64]int{0: 7, 299: 7, 300: 6, 450: 5, 1 << 40: 0} {
		if from, to := equal.PlanSmall(8, bytes); from != first || to != 9 {
			t.Fatal(bytes, from, to)
		}
	}
	if from, to := sizes.PlanSmall(9, 1<<40); from != to {
		t.Fatal(from, to)
	}
	// Many more than allowed: at least as many are merged as bring them down.
	for i := range 20 {
		l = append(l, runOver(fmt.Sprint("more", i), 1<<20<<i, a, d))
	}
	from, to := l.PlanRebase(8)
	if rest := slices.Concat(l[:from], List{runOver("merged", 1, a, d)}, l[to:]); rest.Overlap() > 8 {
		t.Fatal(from, to)
	}
	if (List{}).Overlap() != 0 {
		t.Fatal("empty list")
	}
}

// TestPlanBoundsWork: over many checkpoints of equal size, rebasing by the plan keeps
// the overlap within its bound and rewrites each byte a few times only.
func TestPlanBoundsWork(t *testing.T) {
	for most, rewrites := range map[int]int64{8: 7, 6: 8} {
		t.Run(fmt.Sprint(most), func(t *testing.T) { planBoundsWork(t, most, rewrites) })
	}
}

func planBoundsWork(t *testing.T, most int, rewrites int64) {
	a, d := key(1, "a"), key(9, "d")
	var l List
	var rewritten int64
	const rounds = 4096
	for i := range rounds {
		l = append(l, runOver(fmt.Sprint(i), 1, a, d))
		for {
			from, to := l.PlanRebase(most)
			if from == to {
				break
			}
			n := l[from:to].Bytes()
			rewritten += n
			l = slices.Concat(l[:from], List{runOver("m", n, a, d)}, l[to:])
		}
		if l.Overlap() > most {
			t.Fatal(l.Overlap())
		}
	}
	if rewritten > rewrites*rounds || rewritten < rounds {
		t.Fatalf("%d bytes rewritten for each", rewritten/rounds)
	}
	t.Logf("each byte rewritten %.1f times", float64(rewritten)/rounds)
}

func TestFromProtoRefuses(t *testing.T) {
	fs := vfs.NewMem()
	r := write(t, Options{ID: "e1.n1-0", FS: fs, TargetSize: 1, Folder: "shared"}, randomOps(rand.New(rand.NewPCG(5, 5))))
	for name, damage := range map[string]func(p *metapb.Run){
		"no id":            func(p *metapb.Run) { p.Id = "" },
		"id with a path":   func(p *metapb.Run) { p.Id = "a/b" },
		"groups inverted":  func(p *metapb.Run) { p.FirstGroup, p.LastGroup = 5, 4 },
		"groups too large": func(p *metapb.Run) { p.LastGroup = 1 << 16 },
		"no files":         func(p *metapb.Run) { p.Files = nil },
		"both":             func(p *metapb.Run) { p.InlineTable = []byte{1} },
		"name leads out":   func(p *metapb.Run) { p.Files[0].Name = "../../etc/passwd" },
		"absolute name":    func(p *metapb.Run) { p.Files[0].Name = "/etc/passwd" },
		"overlap":          func(p *metapb.Run) { p.Files[0].Largest = p.Files[len(p.Files)-1].Largest },
		"inverted file":    func(p *metapb.Run) { p.Files[0].Smallest = []byte{255, 255, 255} },
		"short keys":       func(p *metapb.Run) { p.Files[0].Smallest = nil },
		"no digest":        func(p *metapb.Run) { p.Files[0].Digest = nil },
		"short digest":     func(p *metapb.Run) { p.Files[0].TailDigest = p.Files[0].TailDigest[:15] },
		"tail too large":   func(p *metapb.Run) { p.Files[0].TailSize = uint32(p.Files[0].Size) + 1 },
		"no tail":          func(p *metapb.Run) { p.Files[0].TailSize = 0 },
		"huge size":        func(p *metapb.Run) { p.Files[0].Size = 1 << 63 },
		"wrong sum":        func(p *metapb.Run) { p.Bytes++ },
		"nil file":         func(p *metapb.Run) { p.Files[0] = nil },
		"inline digest":    func(p *metapb.Run) { p.Files, p.InlineTable, p.Bytes = nil, []byte{1}, 1 },
	} {
		p := List{r}.Proto()
		damage(p[0])
		if _, err := FromProto(p); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := FromProto([]*metapb.Run{nil}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if _, err := FromProto((List{r}).Proto()); err != nil {
		t.Error(err)
	}
}
