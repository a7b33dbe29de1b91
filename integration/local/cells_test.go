package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/savepoint"
	"github.com/weirstream/weir/weirtest"
)

// What must hold of every kind of snapshot, a test for each cell: rows are the kinds,
// columns what can be done with one. Each test starts a job from a snapshot that an
// earlier one has left in the middle of its input, lets it run to its end, and compares
// what both have committed with what one job without any of that would have.

// TestSnapshots has the cells.
func TestSnapshots(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := kind.take(t, kind.backend)
			s.take = kind.take
			for _, column := range columns {
				t.Run(column.name, func(t *testing.T) { column.holds(t, s) })
			}
		})
	}
}

// order is a record of the first version of the program.
type order struct {
	User  string
	Cents int32
}

// price of every order: what a user has spent does not depend on their order.
const price = 2

const (
	allOrders = 1200
	users     = 17
)

// taken is how many orders the job has been sent when its snapshot is taken.
const taken = 700

func orderOf(i int) order { return order{fmt.Sprintf("user-%02d", i%users), price} }

// feedOf sends the orders n, converted by as, and ends.
func feedOf[T any](t *testing.T, n int, as func(order) T, end bool) *weirtest.Feed[T] {
	f := weirtest.NewFeed[T](t)
	for i := range n {
		f.Send(as(orderOf(i)))
	}
	if end {
		f.End()
	}
	return f
}

func same[T any](v T) T { return v }

// wanted are the updates of all orders, sorted.
func wanted() (all []string) {
	count := map[string]int{}
	for i := range allOrders {
		u := orderOf(i).User
		count[u]++
		all = append(all, update(u, count[u]))
	}
	slices.Sort(all)
	return all
}

func update(user string, n int) string {
	return fmt.Sprintf("%s: %d orders, %d cents", user, n, n*price)
}

// total is what the first version keeps of a user.
type total struct {
	Orders int32
	Cents  int32
}

// spent keeps the totals of each user, the sizes of the orders, and when they came.
type spent struct {
	slow  bool
	total *weir.Value[total]
	sizes *weir.List[int32]
	days  *weir.Map[string, int32]
	photo *weir.Value[[]byte]
}

// photoOf is 4 KiB that do not compress, so that state takes files.
func photoOf(user string) []byte {
	b := make([]byte, 4<<10)
	rand.NewChaCha8(sha256.Sum256([]byte(user))).Read(b)
	return b
}

// photographed keeps a user's photo, or compares it.
func photographed(user string, photo *weir.Value[[]byte], known bool) error {
	b, ok := photo.Get()
	if !ok && !known {
		photo.Set(photoOf(user))
		return nil
	}
	if !bytes.Equal(b, photoOf(user)) {
		return fmt.Errorf("the photo of user %s has %d bytes, there %t", user, len(b), ok)
	}
	return nil
}

func newSpent(slow bool) func(s *weir.Setup) *spent {
	return func(s *weir.Setup) *spent {
		return &spent{slow, s.Value[total]("total"), s.List[int32]("sizes"), s.Map[string, int32]("days"), s.Value[[]byte]("photo")}
	}
}

func (p *spent) Process(c *weir.Ctx[string], o order, out *weir.Collector[string]) error {
	if p.slow {
		<-time.After(slowly)
	}
	v, _ := p.total.Get()
	v.Orders++
	v.Cents += o.Cents
	p.total.Set(v)
	p.sizes.Append(o.Cents)
	n, _ := p.days.Get("today")
	p.days.Set("today", n+1)
	if p.sizes.Len() != int(v.Orders) || n+1 != v.Orders {
		return fmt.Errorf("user %s: %d orders, %d sizes, %d today", c.Key(), v.Orders, p.sizes.Len(), n+1)
	}
	out.Emit(fmt.Sprintf("%s: %d orders, %d cents", c.Key(), v.Orders, v.Cents))
	return photographed(c.Key(), p.photo, v.Orders > 1)
}

// first is the first version of the program.
func first(env *weir.Env) error {
	slow := env.Param("SLOW") != ""
	env.From("orders", weir.Source[order](nil2[order]())).
		Map("priced", weir.Self).
		KeyBy(func(o order) string { return o.User }).
		Process("spent", newSpent(slow)).
		To("out", weir.Sink[string](sink{}))
	return nil
}

// nil2 is a source that a test replaces.
func nil2[T any]() weir.Source[T] { return weirtest.NewFeed[T](nil) }

// sink is one that a test replaces.
type sink struct{}

func (sink) NewWriter(*weir.Setup) (weir.Writer[string], error) { return sink{}, nil }
func (sink) Write(string) error                                 { return nil }

// shot is a snapshot of the first version, and what was committed up to it.
type shot struct {
	*weirtest.Savepoint
	kind      string
	backend   string
	committed *[]string
	take      func(t *testing.T, backend string) shot // another one of this kind
}

type kind struct {
	name, backend string
	take          func(t *testing.T, backend string) shot
}

// kinds are the rows.
var kinds = []kind{
	{name: "canonical savepoint", backend: "heap", take: func(t *testing.T, backend string) shot {
		return running(t, "canonical", backend, func(j *weirtest.Job) *weirtest.Savepoint {
			s := j.Savepoint()
			j.Cancel()
			return s
		})
	}},
	{name: "native savepoint", backend: "pebble", take: func(t *testing.T, backend string) shot {
		return running(t, "native", backend, func(j *weirtest.Job) *weirtest.Savepoint {
			s := j.NativeSavepoint()
			j.Cancel()
			return s
		})
	}},
	{name: "aligned checkpoint", backend: "heap", take: func(t *testing.T, backend string) shot {
		return running(t, "aligned", backend, (*weirtest.Job).Retained)
	}},
	{name: "unaligned checkpoint", backend: "pebble", take: unaligned},
}

// running takes a snapshot of a job that has worked off what it was sent.
func running(t *testing.T, name, backend string, take func(j *weirtest.Job) *weirtest.Savepoint) shot {
	var committed []string
	j := weirtest.Run(t, first, weirtest.ReplaceSource("orders", feedOf(t, taken, same, false)), weirtest.Capture("out", &committed),
		weirtest.Setting("state.backend.type", backend), weirtest.Setting("execution.checkpointing.unaligned.enabled", "false"))
	j.AwaitCaptured("out", taken)
	return shot{Savepoint: take(j), kind: name, backend: backend, committed: &committed}
}

// unaligned takes a checkpoint whose barriers have overtaken records.
func unaligned(t *testing.T, backend string) shot {
	var committed []string
	j := weirtest.Run(t, first, weirtest.ReplaceSource("orders", feedOf(t, taken, same, false)), weirtest.Capture("out", &committed),
		weirtest.Environ("SLOW", "1"), weirtest.Setting("state.backend.type", backend),
		weirtest.Setting("execution.checkpointing.unaligned.enabled", "true"), weirtest.Setting("execution.checkpointing.aligned-checkpoint-timeout", "0ms"))
	j.AwaitCheckpoint(2)
	s := j.Retained()
	if d := describe(t, s.Path); inFlight(d) == 0 {
		t.Fatalf("nothing was in flight: %+v", d)
	}
	return shot{Savepoint: s, kind: "unaligned", backend: backend, committed: &committed}
}

func describe(t *testing.T, path string) savepoint.Description {
	t.Helper()
	d, err := savepoint.Describe(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func inFlight(d savepoint.Description) (n uint64) {
	for _, op := range d.Operators {
		n += op.InFlight
	}
	return n
}

// goOn runs build from the snapshot to the end of the input, and compares all updates.
// with are what it needs besides; edit changes what it has committed before it is compared.
func (s shot) goOn(t *testing.T, at *weirtest.Savepoint, build func(*weir.Env) error, source weirtest.Option, edit func(string) string, with ...weirtest.Option) {
	t.Helper()
	var more []string
	options := append([]weirtest.Option{weirtest.From(at), source, weirtest.Capture("out", &more), weirtest.Setting("state.backend.type", s.backend)}, with...)
	weirtest.Run(t, build, options...).Wait()
	got := slices.Clone(*s.committed)
	for _, u := range more {
		if edit != nil {
			u = edit(u)
		}
		got = append(got, u)
	}
	slices.Sort(got)
	if want := wanted(); !slices.Equal(got, want) {
		t.Errorf("%d updates, want %d: %.1500s", len(got), len(want), cmp.Diff(want, got))
	}
}

// rest is the source of the orders, those that the snapshot has read too.
func rest(t *testing.T) weirtest.Option {
	return weirtest.ReplaceSource("orders", feedOf(t, allOrders, same, true))
}

// columns are what can be done with every snapshot.
var columns = []struct {
	name  string
	holds func(t *testing.T, s shot)
}{
	{"change backend", func(t *testing.T, s shot) {
		other := map[string]string{"heap": "pebble", "pebble": "heap"}[s.backend]
		s.goOn(t, s.Savepoint, first, rest(t), nil, weirtest.Setting("state.backend.type", other))
		back := s.take(t, other)
		back.goOn(t, back.Savepoint, first, rest(t), nil, weirtest.Setting("state.backend.type", s.backend))
	}},
	{"write with the library", written},
	{"read with the library", read},
	{"self-contained and relocatable", relocated},
	{"schema evolution", func(t *testing.T, s shot) {
		s.goOn(t, s.Savepoint, evolved, rest(t), nil)
		s.goOn(t, s.Savepoint, named, rest(t), nil)
	}},
	{"any job upgrade", upgraded},
	{"same-graph upgrade", func(t *testing.T, s shot) { s.goOn(t, s.Savepoint, sameGraph, rest(t), nil) }},
	{"minor and patch version upgrade", fromGolden},
	{"rescale", func(t *testing.T, s shot) {
		for _, p := range []string{"1", "3"} {
			s.goOn(t, s.Savepoint, first, rest(t), nil, weirtest.Setting("parallelism.default", p))
		}
	}},
}

// written: what the library makes of it is a savepoint that a job is started from.
func written(t *testing.T, s shot) {
	const gift = 1000
	known := totals(t, s.Path)
	to := filepath.Join(t.TempDir(), "changed")
	if _, err := savepoint.Transform(t.Context(), s.Path, to, savepoint.MapValues("spent", "total", func(_ string, v total) (total, bool, error) {
		v.Cents += gift
		return v, true, nil
	})); err != nil {
		t.Fatal(err)
	}
	s.goOn(t, s.At(to), first, rest(t), func(u string) string {
		var user string
		var n, cents int
		if _, err := fmt.Sscanf(strings.ReplaceAll(u, ":", " "), "%s %d orders, %d cents", &user, &n, &cents); err != nil {
			t.Errorf("%q: %v", u, err)
		}
		if _, there := known[user]; there {
			cents -= gift
		}
		return fmt.Sprintf("%s: %d orders, %d cents", user, n, cents)
	})
}

// totals are the states of the snapshot, read with the library.
func totals(t *testing.T, path string) map[string]total {
	t.Helper()
	snapshot, err := savepoint.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	r, err := snapshot.Operator("spent")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]total{}
	if err := r.Values(t.Context(), "total", func(user string, v total) error { all[user] = v; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// read: what the library finds are the orders that the source had read, but for those in
// flight.
func read(t *testing.T, s shot) {
	snapshot, err := savepoint.Open(t.Context(), s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	source, err := snapshot.Operator("orders")
	if err != nil {
		t.Fatal(err)
	}
	var position uint64
	for _, split := range source.Entries("weir.splits") {
		position = binary.BigEndian.Uint64(split)
	}
	var found uint64
	for user, v := range totals(t, s.Path) {
		found += uint64(v.Orders)
		if v.Cents != v.Orders*price {
			t.Errorf("%s: %+v", user, v)
		}
	}
	if found+inFlight(snapshot.Describe()) != position || position == 0 {
		t.Errorf("%d orders in the state and %d in flight, the source has read %d", found, inFlight(snapshot.Describe()), position)
	}
	if err := snapshot.Use(accountType); err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Operator("spent")
	if err != nil {
		t.Fatal(err)
	}
	var mills int64
	if err := r.Values(t.Context(), "total", func(_ string, a account) error { mills += a.Mills; return nil }); err != nil || mills != int64(found)*price*10 {
		t.Errorf("%d mills, %v", mills, err)
	}
	days := 0
	if err := r.Maps(t.Context(), "days", func(_, day string, n int32) error { days += int(n); return nil }); err != nil || uint64(days) != found {
		t.Errorf("%d orders by day, %v", days, err)
	}
}

// relocated: a savepoint is moved, a checkpoint copied into one; nothing of where the job
// was is there any more.
func relocated(t *testing.T, s shot) {
	to := filepath.Join(t.TempDir(), "moved")
	home := s.Path
	if strings.HasSuffix(s.kind, "aligned") {
		home = filepath.Dir(s.Path) // of all the job's checkpoints
		d, err := savepoint.Copy(t.Context(), s.Path, to, metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE)
		if err != nil || !d.SelfContained {
			t.Fatalf("copy: self-contained %t, %v", d.SelfContained, err)
		}
	} else if err := os.CopyFS(to, os.DirFS(s.Path)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(home, home+".away"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Rename(home+".away", home); err != nil {
			t.Error(err)
		}
	}()
	s.goOn(t, s.At(to), first, rest(t), nil)
}

// upgraded: types, edges and parallelism change, operators come and go.
func upgraded(t *testing.T, s shot) {
	feed := func() weirtest.Option { return weirtest.ReplaceSource("orders", feedOf(t, allOrders, asNew, true)) }
	gifts := weirtest.Replace[newOrder]("gifts")
	s.goOn(t, s.Savepoint, retyped, feed(), nil)
	if s.kind != "unaligned" {
		s.goOn(t, s.Savepoint, rewired, feed(), nil, gifts)
		return
	}
	var none []string
	err := weirtest.Refused(t, rewired, weirtest.From(s.Savepoint), feed(), gifts, weirtest.Capture("out", &none))
	for _, name := range []string{`"spent"`, `from operator "priced"`} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("refused: %v; it does not name %s", err, name)
		}
	}
}

var golden = flag.String("golden", "", "write the snapshots of this version to testdata/NAME, which must not exist")

// fromGolden: snapshots that earlier versions have written, and this one when its formats
// were new, start the job. What stands in testdata is never written again.
func fromGolden(t *testing.T, s shot) {
	if *golden != "" {
		writeGolden(t, s)
	}
	all, err := filepath.Glob(filepath.Join("testdata", "v*", s.kind, "*", "_metadata"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no golden snapshot of kind %s, %v", s.kind, err)
	}
	for _, at := range all {
		at, err := filepath.Abs(filepath.Dir(at))
		if err != nil {
			t.Fatal(err)
		}
		before := totals(t, at)
		var want, got []string
		count := map[string]int{}
		for i := range allOrders {
			u := orderOf(i).User
			if count[u]++; count[u] > int(before[u].Orders) {
				want = append(want, update(u, count[u]))
			}
		}
		for _, build := range []func(*weir.Env) error{first, evolved} {
			weirtest.Run(t, build, weirtest.From(weirtest.SavepointAt(at)), rest(t), weirtest.Capture("out", &got)).Wait()
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" || len(before) == 0 {
				t.Errorf("%s, %d users: %.1000s", at, len(before), d)
			}
		}
	}
}

// writeGolden copies s to testdata, a checkpoint with the files that it shares.
func writeGolden(t *testing.T, s shot) {
	dir := filepath.Join("testdata", *golden, s.kind)
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is there: what an earlier version wrote must stay", dir)
	}
	from := s.Path
	if strings.HasSuffix(s.kind, "aligned") {
		from = filepath.Dir(s.Path)
		// Of the job's checkpoints only this one.
		others, err := filepath.Glob(filepath.Join(from, "chk-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range others {
			if o != s.Path {
				if err := os.RemoveAll(o); err != nil {
					t.Fatal(err)
				}
			}
		}
	} else {
		dir = filepath.Join(dir, "savepoint")
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
