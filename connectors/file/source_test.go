package file

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/stream"
)

func sourceContext(t testing.TB, restored bool) *operator.SourceContext {
	return &operator.SourceContext{UID: "lines", Runtime: &operator.Runtime{
		Context: context.Background(), Now: time.Now, Parallelism: 1, Restored: restored,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
}

// run is a source with its readers, as the runtime drives it.
type run struct {
	t       testing.TB
	e       operator.Enumerator
	readers []operator.Reader[string]
	asking  []bool
	ended   []bool
	none    bool
	batch   stream.Batch[string]
	lines   []string
}

// start makes a run of p readers from the state of an earlier one, or none.
func start(t testing.TB, s *Source, p, batch int, enumerator, splits [][]byte) *run {
	t.Helper()
	r := &run{t: t, asking: make([]bool, p), ended: make([]bool, p)}
	r.batch.Values = make([]string, 0, batch)
	var err error
	if r.e, err = s.NewEnumerator(sourceContext(t, enumerator != nil)); err != nil {
		t.Fatal(err)
	}
	if err := r.e.Start(enumerator, func() {}); err != nil {
		t.Fatal(err)
	}
	given := make([][][]byte, p)
	for i, b := range splits {
		given[i%p] = append(given[i%p], b)
	}
	for i := range p {
		reader, err := s.NewReader(sourceContext(t, enumerator != nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Start(given[i], func() {}); err != nil {
			t.Fatal(err)
		}
		r.readers = append(r.readers, reader)
	}
	return r
}

// poll has reader i polled once, and given a split if it asks for one.
func (r *run) poll(i int) error {
	r.t.Helper()
	reader := r.readers[i]
	if r.asking[i] {
		r.asking[i] = false
		if r.none {
			r.ended[i] = true
			return nil
		}
		splits, none, err := r.e.Next(i, len(r.readers), 1)
		if err != nil {
			return err
		}
		if len(splits) > 1 {
			r.t.Fatalf("%d splits, want at most 1", len(splits))
		}
		r.none = r.none || none
		return reader.AddSplits(splits)
	}
	p, err := reader.Poll(&r.batch)
	if err != nil {
		return err
	}
	for _, l := range r.batch.Values {
		r.lines = append(r.lines, strings.Clone(l))
	}
	r.batch.Reset()
	r.asking[i] = p.Status == operator.PollIdle
	return nil
}

func (r *run) over() bool { return !slices.Contains(r.ended, false) }

// finish polls to the end.
func (r *run) finish() []string {
	r.t.Helper()
	for i := 0; !r.over(); i = (i + 1) % len(r.readers) {
		if r.ended[i] {
			continue
		}
		if err := r.poll(i); err != nil {
			r.t.Fatal(err)
		}
	}
	return r.lines
}

func (r *run) snapshot() (enumerator, splits [][]byte) {
	r.t.Helper()
	enumerator, err := r.e.Snapshot(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, reader := range r.readers {
		if splits, err = reader.Snapshot(splits); err != nil {
			r.t.Fatal(err)
		}
	}
	return enumerator, splits
}

func (r *run) close() {
	for _, reader := range r.readers {
		if err := reader.Close(); err != nil {
			r.t.Error(err)
		}
	}
	if err := r.e.Close(); err != nil {
		r.t.Error(err)
	}
}

// plain is what the lines of a file are.
func plain(content []byte) (lines []string) {
	if len(content) == 0 {
		return nil
	}
	for _, l := range bytes.Split(bytes.TrimSuffix(content, []byte{'\n'}), []byte{'\n'}) {
		lines = append(lines, string(l))
	}
	return lines
}

// same fails unless got and want are the same lines, in any order.
func same(t testing.TB, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%d lines, want %d; they differ from line %d on: %.80q, want %.80q", len(got), len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}

// randomContent is text with lines of all lengths.
func randomContent(rnd *rand.Rand) []byte {
	var b []byte
	for range rnd.IntN(60) {
		n := rnd.IntN(20)
		switch rnd.IntN(20) {
		case 0:
			n = rnd.IntN(3 * chunkSize)
		case 1:
			n = rnd.IntN(600)
		case 2, 3, 4:
			n = 0
		}
		for range n {
			c := byte(rnd.Uint32())
			if c == '\n' {
				c = '\r'
			}
			b = append(b, c)
		}
		b = append(b, '\n')
	}
	if rnd.IntN(2) == 0 && len(b) > 0 {
		b = b[:len(b)-1]
	}
	return b
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestEachLineOnce (I22): whatever the contents, the split size, the parallelism and
// the restores on the way, the lines of completed cuts are those of the files.
func TestEachLineOnce(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		var want []string
		most := 0
		for i := range 1 + rnd.IntN(8) {
			c := randomContent(rnd)
			most = max(most, len(c))
			want = append(want, plain(c)...)
			write(t, filepath.Join(dir, fmt.Sprintf("d%d", i%2), fmt.Sprintf("f%d", i)), c)
		}
		size := []int64{1, 2, 7, 100, 5000, 1 << 20}[rnd.IntN(6)]
		s := Lines(dir, SplitSize(max(size, int64(most/500))))
		var got []string // of what the last cut is behind
		r := start(t, s, 1+rnd.IntN(4), 1+rnd.IntN(512), nil, nil)
		for restores := rnd.IntN(6); restores > 0 && !r.over(); {
			if i := rnd.IntN(len(r.readers)); !r.ended[i] {
				if err := r.poll(i); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(10) > 0 {
				continue
			}
			restores--
			enumerator, splits := r.snapshot()
			got = append(got, r.lines...)
			r.lines = nil
			for range rnd.IntN(20) { // lost: behind the cut
				if i := rnd.IntN(len(r.readers)); !r.ended[i] {
					if err := r.poll(i); err != nil {
						t.Fatal(err)
					}
				}
			}
			r.close()
			r = start(t, s, 1+rnd.IntN(4), 1+rnd.IntN(512), enumerator, splits)
		}
		got = append(got, r.finish()...)
		r.close()
		same(t, got, want)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n\xff\xfe\x00c"), int64(3), uint8(2))
	f.Add([]byte("\n\n\n"), int64(1), uint8(1))
	f.Add([]byte("long"), int64(2), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, size int64, readers uint8) {
		if len(content) > 1<<16 {
			return
		}
		path := filepath.Join(t.TempDir(), "f")
		write(t, path, content)
		r := start(t, Lines(path, SplitSize(max(size, int64(len(content)/1000)))), int(readers%4)+1, 7, nil, nil)
		defer r.close()
		same(t, r.finish(), plain(content))
	})
}

func TestLongLines(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 140_000) // 1.4 MB, as one in Go's own tree
	content := slices.Concat([]byte("a\n"), long, []byte("\nb\n"), long, []byte("x\n\nc\n"), long)
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, content)
	for _, size := range []int64{splitSize, 1000, 100_000, 1_399_999} {
		r := start(t, Lines(path, SplitSize(size)), 2, 512, nil, nil)
		same(t, r.finish(), plain(content))
		r.close()
	}
}

// TestOneReaderKeepsOrder: within a file that is not divided, lines come in order.
func TestOneReaderKeepsOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, []byte("c\nb\r\n\na"))
	r := start(t, Lines(path), 1, 512, nil, nil)
	defer r.close()
	if got := r.finish(); !slices.Equal(got, []string{"c", "b\r", "", "a"}) {
		t.Errorf("%q", got)
	}
}

func TestChangedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := bytes.Repeat([]byte("0123456\n"), 100_000)
	for name, c := range map[string]struct {
		change func() error
		want   string // "": it is read as it was
	}{
		"vanished": {func() error { return os.Remove(path) }, "no such file"},
		"shorter":  {func() error { return os.Truncate(path, 799_999) }, "800000 bytes when it was listed and has 799999 now"},
		"grown": {func() error {
			return os.WriteFile(path, append(slices.Clone(content), "more\nlines"...), 0o666)
		}, ""},
		"touched": {func() error { return os.Chtimes(path, time.Time{}, time.Unix(1, 0)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, content)
			r := start(t, Lines(path), 1, 512, nil, nil)
			defer r.close()
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				same(t, r.finish(), plain(content))
				return
			}
			var err error
			for !r.over() && err == nil {
				err = r.poll(0)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and %q", err, c.want, path)
			}
			if !operator.IsFatal(err) {
				t.Errorf("%v: a restart would read the same list again, for ever", err)
			}
		})
	}
	// While it is open.
	write(t, path, content)
	r := start(t, Lines(path), 1, 512, nil, nil)
	defer r.close()
	_ = r.poll(0) // idle
	_ = r.poll(0) // gets the split
	if err := r.poll(0); err != nil || len(r.lines) == 0 {
		t.Fatalf("%d lines, %v", len(r.lines), err)
	}
	if err := os.Truncate(path, 300_000); err != nil {
		t.Fatal(err)
	}
	var err error
	for !r.over() && err == nil {
		err = r.poll(0)
	}
	if err == nil || !strings.Contains(err.Error(), "ends at byte 300000 now") || !operator.IsFatal(err) {
		t.Errorf("error %v", err)
	}
}

func TestNothingToRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), nil)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"missing", "missing/*", "*.txt", "folder", "folder/**", "empty/x", "[a-"} {
		e, err := Lines(filepath.Join(dir, pattern)).NewEnumerator(sourceContext(t, false))
		if err != nil {
			t.Fatal(err)
		}
		err = e.Start(nil, func() {})
		if err == nil || !operator.IsFatal(err) || !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: error %v", pattern, err)
		}
	}
	r := start(t, Lines(filepath.Join(dir, "empty")), 2, 10, nil, nil)
	if got := r.finish(); len(got) != 0 {
		t.Errorf("an empty file has lines %q", got)
	}
	if _, err := Lines("").NewEnumerator(sourceContext(t, false)); err == nil {
		t.Error("an empty path is accepted")
	}
}

// TestRestoreDoesNotList: files that appear later are not read by a job that goes on.
func TestRestoreDoesNotList(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), []byte("a\n"))
	r := start(t, Lines(dir), 1, 10, nil, nil)
	same(t, r.finish(), []string{"a"})
	enumerator, splits := r.snapshot()
	write(t, filepath.Join(dir, "b"), []byte("b\n"))
	same(t, start(t, Lines(dir), 1, 10, enumerator, splits).finish(), nil)
}

func TestPosition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, []byte("abc\ndef\nghi\n"))
	r := start(t, Lines(path), 1, 2, nil, nil)
	for range 3 {
		if err := r.poll(0); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.readers[0].Position(), "file "+path+", bytes 0 to 8"; got != want {
		t.Errorf("position %q, want %q", got, want)
	}
}

// TestBigFileIsShared: each of several readers gets its part of one file.
func TestBigFileIsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, bytes.Repeat([]byte("0123456\n"), 1000))
	e, err := Lines(path, SplitSize(1000)).NewEnumerator(sourceContext(t, false))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(nil, func() {}); err != nil {
		t.Fatal(err)
	}
	if n := len(e.(*enumerator).left); n != 8 {
		t.Errorf("%d ranges, want 8", n)
	}
}

func TestSmallFilesShareSplits(t *testing.T) {
	var ranges []fileRange
	for i := range 1000 {
		ranges = append(ranges, fileRange{path: fmt.Sprintf("/some/folder/of/logs/file-%05d", i), end: 10, size: 10, aligned: true})
	}
	splits := appendSplits(nil, ranges)
	if want := (1000 + groupRanges - 1) / groupRanges; len(splits) != want {
		t.Errorf("%d splits, want %d", len(splits), want)
	}
	if n := len(bytes.Join(splits, nil)); n > 12*1000 {
		t.Errorf("%d bytes of state for 1000 files", n)
	}
}

func benchmarkFile(b *testing.B, size int) string {
	path := filepath.Join(b.TempDir(), "f")
	var text []byte
	for i := 0; len(text) < size; i++ {
		text = fmt.Appendf(text, "%d: the quick brown fox jumps over the lazy dog\n", i)
	}
	write(b, path, text)
	return path
}

// BenchmarkPoll reads lines of 53 bytes; "line copies" is what a string for each line
// of its own would cost.
func BenchmarkPoll(b *testing.B) {
	const size = 32 << 20
	path := benchmarkFile(b, size)
	for _, copies := range []bool{false, true} {
		b.Run(fmt.Sprintf("line copies=%v", copies), func(b *testing.B) {
			b.SetBytes(size)
			batch := stream.Batch[string]{Values: make([]string, 0, stream.MaxBatch)}
			for b.Loop() {
				reader, _ := Lines(path).NewReader(sourceContext(b, false))
				info, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				f := foundFile{path, info.Size(), info.ModTime().UnixNano()}
				if err := reader.AddSplits([][]byte{encodeSplit(cut(nil, f, 1<<40))}); err != nil {
					b.Fatal(err)
				}
				for p := (operator.Polled{}); p.Status != operator.PollIdle; {
					if p, err = reader.Poll(&batch); err != nil {
						b.Fatal(err)
					}
					if copies {
						for i, l := range batch.Values {
							batch.Values[i] = strings.Clone(l)
						}
					}
					batch.Reset()
				}
				if err := reader.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
