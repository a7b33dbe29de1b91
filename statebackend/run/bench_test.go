package run

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/weirstream/weir/statebackend/envelope"
	"github.com/weirstream/weir/stream"
)

// benchKeys are n sorted keys of 16 bytes: group, state id 1 and a key of 10 bytes,
// one behind the other as an encoder hands them out.
func benchKeys(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	raw := make([]uint64, n)
	for i := range raw {
		raw[i] = r.Uint64()
	}
	slices.Sort(raw)
	slab := make([]byte, 0, 16*n)
	for _, v := range raw {
		slab = binary.BigEndian.AppendUint16(slab, uint16(v>>48))
		slab = binary.BigEndian.AppendUint32(slab, 1)
		slab = append(binary.BigEndian.AppendUint64(slab, v<<16|v>>48), 0, 1)
	}
	return slab
}

func benchRun(tb testing.TB, o Options, slab []byte) Run {
	w, err := NewWriter(o)
	if err != nil {
		tb.Fatal(err)
	}
	val := envelope.Append(make([]byte, 0, 10), envelope.Head{Kind: 1})[:10]
	for i := 0; i < len(slab); i += 16 {
		binary.LittleEndian.PutUint32(val[2:], uint32(i)*2654435761>>12)
		if err := w.Set(slab[i:i+16], val); err != nil {
			tb.Fatal(err)
		}
	}
	r, err := w.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

const benchEntries = 1 << 20

func perEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}

// BenchmarkWrite writes 1 Mi sorted entries of 16-byte keys and 10-byte values to
// files, digests and fsync included.
func BenchmarkWrite(b *testing.B) {
	slab := benchKeys(benchEntries, 1)
	for _, c := range []struct {
		name string
		o    Options
	}{{"snappy", Options{}}, {"none", Options{Compression: NoCompression}}, {"snappy-8k", Options{BlockSize: 8 << 10}}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			var r Run
			for i := 0; b.Loop(); i++ {
				c.o.ID, c.o.Dir = fmt.Sprint("r", i), dir
				r = benchRun(b, c.o, slab)
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil || os.Mkdir(dir, 0o755) != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			perEntry(b, benchEntries)
			b.ReportMetric(float64(r.Bytes)/benchEntries, "B/entry")
		})
	}
}

// BenchmarkRead reads them back from the page cache, checksums included.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	r := benchRun(b, Options{ID: "r", Dir: dir}, benchKeys(benchEntries, 1))
	for b.Loop() {
		it := NewIter(b.Context(), r, LocalOpener(nil, dir), stream.AllKeyGroups)
		drain(b, it, benchEntries)
	}
	perEntry(b, benchEntries)
}

// BenchmarkMerge merges a large run and 1, 3 or 7 smaller ones of 1/8 of its size.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{2, 4, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			l := List{benchRun(b, Options{ID: "base", Dir: dir}, benchKeys(benchEntries, 1))}
			for i := 1; i < n; i++ {
				l = append(l, benchRun(b, Options{ID: fmt.Sprint("d", i), Dir: dir}, benchKeys(benchEntries/8, uint64(i)+1)))
			}
			total := benchEntries + (n-1)*benchEntries/8
			for b.Loop() {
				drain(b, l.Read(b.Context(), LocalOpener(nil, dir), stream.AllKeyGroups), total)
			}
			perEntry(b, total)
		})
	}
}

func drain(b *testing.B, s Source, want int) {
	n := 0
	for _, ok := s.Next(); ok; _, ok = s.Next() {
		n++
	}
	if s.Err() != nil || n != want {
		b.Fatal(n, s.Err())
	}
	s.Close()
}

// BenchmarkDigest compares the digest of format 1 with a cryptographic one.
func BenchmarkDigest(b *testing.B) {
	buf := make([]byte, 32<<20)
	b.Run("xxh3-128", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			digest(buf)
		}
	})
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			sha256.Sum256(buf)
		}
	})
}

// TestReadDoesNotAllocate: an entry costs no allocation, a block a few.
func TestReadDoesNotAllocate(t *testing.T) {
	const n = 1 << 15
	dir := t.TempDir()
	r := benchRun(t, Options{ID: "r", Dir: dir}, benchKeys(n, 1))
	d := benchRun(t, Options{ID: "d", Dir: dir}, benchKeys(n, 2))
	s := List{r, d}.Read(t.Context(), LocalOpener(nil, dir), stream.AllKeyGroups)
	defer s.Close()
	s.Next()
	if got := testing.AllocsPerRun(10, func() {
		for range 5000 {
			if _, ok := s.Next(); !ok {
				t.Fatal(s.Err())
			}
		}
	}); got > 500 {
		t.Fatalf("%v allocations for 5000 entries", got)
	}
}
