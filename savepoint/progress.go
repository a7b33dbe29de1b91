package savepoint

import (
	"strings"
	"sync/atomic"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// CopyOption tunes Copy.
type CopyOption interface{ apply(*Snapshot) }

type copyOption func(*Snapshot)

func (f copyOption) apply(s *Snapshot) { f(s) }

// Progress has see called as the copy goes on: done bytes of all that are to be read of the
// source are read. It is called from several goroutines, often; calls may come out of
// order. The last one says that all are.
func Progress(see func(done, all uint64)) CopyOption {
	return copyOption(func(s *Snapshot) {
		if see != nil {
			s.read = &progress{see: see, all: runBytes(s.meta)}
		}
	})
}

// progress counts what is read of a snapshot's runs.
type progress struct {
	see  func(done, all uint64)
	all  uint64
	done atomic.Uint64
}

func (p *progress) add(n int) {
	if p != nil && n > 0 {
		p.see(min(p.done.Add(uint64(n)), p.all), p.all)
	}
}

func (p *progress) finish() {
	if p != nil {
		p.see(p.all, p.all)
	}
}

// runBytes is the size of all files of runs that m lists, each once. What is inline comes
// with the _metadata.
func runBytes(m *metapb.CheckpointMetadata) (n uint64) {
	type place struct {
		base, name string
		offset     uint64
	}
	seen := map[place]bool{}
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				for _, f := range r.Files {
					if at := (place{r.BasePath, f.Name, f.Offset}); !seen[at] {
						seen[at] = true
						n += f.Size
					}
				}
			}
		}
	}
	return n
}

// countedReader counts what is read.
type countedReader struct {
	objstore.Reader
	read *progress
}

// ReadAt implements io.ReaderAt.
func (r countedReader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.Reader.ReadAt(b, at)
	r.read.add(n)
	return n, err
}

// isOurs reports whether an object of this name can be part of a self-contained snapshot.
func isOurs(name string) bool {
	return name == metadata.FileName || strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, channelSuffix) || strings.HasSuffix(name, ownedSuffix)
}
