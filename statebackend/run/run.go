package run

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Run is one run of a list.
type Run struct {
	ID      string // unique in the store for ever: attempt and counter
	Files   []File // disjoint, in key order; none if Inline
	Inline  []byte // instead of files: one small SSTable
	Digest  []byte // of Inline
	Visible stream.KeyGroupRange
	Entries uint64 // points and range clears, of all groups
	Bytes   int64  // of the files or of Inline

	Attempt  string // who wrote it
	FirstAck uint64 // checkpoint in whose ack it was first listed; 0 = not yet
}

// File is one SSTable of a run.
type File struct {
	Name       string // object name, relative to the job's checkpoint folder
	Size       int64
	Offset     int64 // where it begins in a pack
	PackSize   int64 // of the whole pack; 0: the object is the file
	TailSize   int64 // bytes behind the last data block
	TailDigest []byte
	Digest     []byte // of the whole file
	// Smallest is the first key or start of a range clear. Largest is the last key or,
	// if that is greater, the end of a range clear, which is exclusive.
	Smallest, Largest []byte
}

// Base is the file's name without folders: its name in a local folder, unless it lies in
// a pack.
func (f File) Base() string { return path.Base(f.Name) }

// Moved is r with file n as an object of that name.
func (r Run) Moved(n int, name string) Run {
	r.Files = slices.Clone(r.Files)
	f := &r.Files[n]
	f.Name, f.Offset, f.PackSize = name, 0, 0
	return r
}

// FileName is what a Writer names file number of run id.
func FileName(id string, number int) string { return fmt.Sprintf("%s-%d.sst", id, number) }

// Empty reports whether the run has no entry at all. Such a run is not listed.
func (r Run) Empty() bool { return r.Entries == 0 }

// Clip restricts the run to groups; ok is false if nothing is left. The files stay
// as they are.
func (r Run) Clip(groups stream.KeyGroupRange) (clipped Run, ok bool) {
	r.Visible, ok = r.Visible.Intersect(groups)
	return r, ok
}

// List is the snapshot of a subtask's keyed state: oldest run first.
type List []Run

// Clip restricts every run to groups and drops those of which nothing is left.
func (l List) Clip(groups stream.KeyGroupRange) List {
	clipped := make(List, 0, len(l))
	for _, r := range l {
		if r, ok := r.Clip(groups); ok {
			clipped = append(clipped, r)
		}
	}
	return clipped
}

// Bytes is the size of all runs.
func (l List) Bytes() (n int64) {
	for _, r := range l {
		n += r.Bytes
	}
	return n
}

// span is a key range [lo, hi).
type span struct{ lo, hi []byte }

// spans are the visible key ranges of the run, in order. Ranges that touch are one.
func (r Run) spans() (s []span) {
	from, to := GroupStart(r.Visible.First), GroupEnd(r.Visible.Last)
	if r.Inline != nil {
		return []span{{from, to}}
	}
	for _, f := range r.Files {
		end := append(bytes.Clone(f.Largest), 0) // the next key: Largest may be one
		v := span{maxKey(f.Smallest, from), minKey(end, to)}
		if bytes.Compare(v.lo, v.hi) >= 0 {
			continue
		}
		if n := len(s); n > 0 && bytes.Compare(s[n-1].hi, v.lo) >= 0 {
			s[n-1].hi = v.hi
		} else {
			s = append(s, v)
		}
	}
	return s
}

func minKey(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}

func maxKey(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return b
	}
	return a
}

// Overlap is the greatest number of runs that may hold one key.
func (l List) Overlap() int { return len(l.crowd()) }

// crowd returns the runs (by index, ascending) at the key where most overlap.
func (l List) crowd() []int {
	type event struct {
		key  []byte
		end  bool
		runs int
	}
	var events []event
	for i, r := range l {
		for _, s := range r.spans() {
			events = append(events, event{s.lo, false, i}, event{s.hi, true, i})
		}
	}
	slices.SortFunc(events, func(a, b event) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		if a.end != b.end {
			if a.end {
				return -1 // a range does not include its end
			}
			return 1
		}
		return cmp.Compare(a.runs, b.runs)
	})
	open := map[int]bool{}
	var most []int
	for _, e := range events {
		if e.end {
			delete(open, e.runs)
			continue
		}
		open[e.runs] = true
		if len(open) > len(most) {
			most = most[:0]
			for i := range open {
				most = append(most, i)
			}
		}
	}
	slices.Sort(most)
	return most
}

// PlanRebase chooses adjacent runs list[from:to] to rebase so that no more than most
// overlap at a key; from == to means that nothing needs to be done. Where several
// keys are crowded the answer is for the worst of them: ask again afterwards.
//
// It takes the youngest runs there, back to the one that is smallest in relation to
// all that are younger, but no fewer than needed. So a run is rewritten when about
// as much has come after it as bounds allow: with most = 8, a byte 5.7 times in 4,096
// deltas of equal size and 9.4 times in 40,000 (simulated).
func (l List) PlanRebase(most int) (from, to int) {
	crowd := l.crowd()
	if most = max(most, 1); len(crowd) <= most {
		return 0, 0
	}
	to = crowd[len(crowd)-1] + 1
	best := math.Inf(1)
	for i := most - 1; i >= 0; i-- {
		at := crowd[i]
		ratio := float64(l[at].Bytes) / float64(max(l[at+1:to].Bytes(), 1))
		if ratio < best { // younger ones if equal
			best, from = ratio, at
		}
	}
	return from, to
}

// PlanSmall is PlanRebase for now, not for long: it takes the youngest runs at the most
// crowded key, as few as needed, and older ones there only while each is no larger than
// all that are younger, and all are no more than so many bytes.
func (l List) PlanSmall(most int, bytes int64) (from, to int) {
	crowd := l.crowd()
	if most = max(most, 1); len(crowd) <= most {
		return 0, 0
	}
	to = crowd[len(crowd)-1] + 1
	i := most - 1
	for i > 0 && l[crowd[i-1]].Bytes <= l[crowd[i]:to].Bytes() && l[crowd[i-1]:to].Bytes() <= bytes {
		i--
	}
	return crowd[i], to
}

// Proto is the form of the run in an ack and in _metadata.
func (r Run) Proto() *metapb.Run {
	p := &metapb.Run{
		Id: r.ID, InlineTable: r.Inline, InlineDigest: r.Digest,
		FirstGroup: uint32(r.Visible.First), LastGroup: uint32(r.Visible.Last),
		Entries: r.Entries, Bytes: uint64(r.Bytes), FirstAck: r.FirstAck, Attempt: r.Attempt,
	}
	for _, f := range r.Files {
		p.Files = append(p.Files, &metapb.RunFile{
			Name: f.Name, Size: uint64(f.Size), TailDigest: f.TailDigest, TailSize: uint32(f.TailSize),
			Digest: f.Digest, Smallest: f.Smallest, Largest: f.Largest, Offset: uint64(f.Offset), PackSize: uint64(f.PackSize),
		})
	}
	return p
}

// Proto is the form of the list in an ack and in _metadata.
func (l List) Proto() []*metapb.Run {
	p := make([]*metapb.Run, len(l))
	for i, r := range l {
		p[i] = r.Proto()
	}
	return p
}

// FromProto is the inverse of List.Proto; it refuses what no writer wrote.
func FromProto(p []*metapb.Run) (List, error) {
	l := make(List, len(p))
	for i, p := range p {
		r, err := runFromProto(p)
		if err != nil {
			return nil, fmt.Errorf("run %d of the list (%.80q): %w: %w", i, p.GetId(), err, ErrCorrupt)
		}
		l[i] = r
	}
	return l, nil
}

func runFromProto(p *metapb.Run) (Run, error) {
	if err := validID(p.GetId()); err != nil {
		return Run{}, err
	}
	if p.FirstGroup > p.LastGroup || p.LastGroup >= stream.KeyGroups {
		return Run{}, fmt.Errorf("key groups %d to %d", p.FirstGroup, p.LastGroup)
	}
	if (len(p.InlineTable) > 0) == (len(p.Files) > 0) {
		return Run{}, fmt.Errorf("%d files and %d bytes inline", len(p.Files), len(p.InlineTable))
	}
	if p.Bytes > math.MaxInt64 {
		return Run{}, fmt.Errorf("%d bytes", p.Bytes)
	}
	r := Run{
		ID:      p.Id,
		Visible: stream.KeyGroupRange{First: stream.KeyGroup(p.FirstGroup), Last: stream.KeyGroup(p.LastGroup)},
		Entries: p.Entries, Bytes: int64(p.Bytes), FirstAck: p.FirstAck, Attempt: p.Attempt,
	}
	if len(p.InlineTable) > 0 {
		r.Inline, r.Digest = p.InlineTable, p.InlineDigest
		if len(r.Digest) != DigestSize || r.Bytes != int64(len(r.Inline)) {
			return Run{}, fmt.Errorf("inline table of %d bytes, %d said, digest of %d bytes", len(r.Inline), r.Bytes, len(r.Digest))
		}
		return r, nil
	}
	var size uint64
	for i, f := range p.Files {
		file, err := fileFromProto(f)
		if err != nil {
			return Run{}, fmt.Errorf("file %d (%.200q): %w", i, f.GetName(), err)
		}
		if i > 0 && bytes.Compare(r.Files[i-1].Largest, file.Smallest) > 0 {
			return Run{}, fmt.Errorf("file %d (%.200q) overlaps the one before", i, f.Name)
		}
		r.Files = append(r.Files, file)
		size += f.Size
	}
	if size != p.Bytes {
		return Run{}, fmt.Errorf("files of %d bytes, %d said", size, p.Bytes)
	}
	return r, nil
}

func fileFromProto(f *metapb.RunFile) (File, error) {
	if err := objstore.ValidName(f.GetName()); err != nil {
		return File{}, err
	}
	if f.Size > math.MaxInt64/2 || uint64(f.TailSize) > f.Size || f.TailSize == 0 || f.TailSize > maxTail {
		return File{}, fmt.Errorf("%d bytes with a tail of %d", f.Size, f.TailSize)
	}
	if f.PackSize > math.MaxInt64/2 || f.Offset > f.PackSize || f.PackSize > 0 && f.Size > f.PackSize-f.Offset {
		return File{}, fmt.Errorf("%d bytes at %d of a pack of %d", f.Size, f.Offset, f.PackSize)
	}
	if len(f.Digest) != DigestSize || len(f.TailDigest) != DigestSize {
		return File{}, fmt.Errorf("digests of %d and %d bytes", len(f.Digest), len(f.TailDigest))
	}
	if len(f.Smallest) < 2 || len(f.Largest) < 2 || bytes.Compare(f.Smallest, f.Largest) > 0 {
		return File{}, fmt.Errorf("keys from %.40x to %.40x", f.Smallest, f.Largest)
	}
	return File{
		Name: f.Name, Size: int64(f.Size), TailSize: int64(f.TailSize), TailDigest: f.TailDigest,
		Digest: f.Digest, Smallest: f.Smallest, Largest: f.Largest, Offset: int64(f.Offset), PackSize: int64(f.PackSize),
	}, nil
}

// validID reports why id cannot be that of a run: it becomes a part of file names.
func validID(id string) error {
	if len(id) > 160 || strings.Contains(id, "/") {
		return fmt.Errorf("run id %.200q is longer than 160 bytes or holds a slash", id)
	}
	return objstore.ValidName(id)
}
