package runlist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Options configures a List. All but InlineLimit must be set.
type Options struct {
	// Dir is a folder of this subtask attempt alone, for runs on local disk.
	Dir string
	// Store is the job's checkpoint folder.
	Store objstore.Store
	// Attempt is "e<epoch>.n<number>"; with the checkpoint folder, Operator (a hash of the
	// uid) and Subtask it makes run names unique for ever.
	Attempt  string
	Operator string
	Subtask  int
	Range    stream.KeyGroupRange
	// InlineLimit is the size up to which a run travels in the ack itself; 0: never.
	InlineLimit int64
	// MemoryLimit: the whole list travels in the ack, as one inline run, of which each state
	// may have so many bytes (ErrTooLarge). Store is only read. 0: runs are objects.
	MemoryLimit int64
	// Packer is the worker's, for small files; nil: each is an object.
	Packer *Packer
	// Cold says that the local files of each cut's run go into a cold tier: a link to
	// them is kept until the cut is resolved.
	Cold bool
}

// List is the run list of one subtask.
type List struct {
	o       Options
	schemas []run.Schema // table of the runs written; immutable after Cuts.Evolve
	// job, in the names of runs, tells jobs apart: attempts of different ones have the same
	// numbers, and a job started from another's snapshot lists runs of both.
	job string

	// states are the program's, for messages; set by NewCuts.
	states func() []statebackend.Descriptor

	// Of the list's background goroutines: life ends with Close.
	life       context.Context
	end        context.CancelFunc
	background sync.WaitGroup
	damaged    atomic.Pointer[error] // found by VerifyBehind
	// squeezeMost is squeezeBytes; immutable but for tests.
	squeezeMost int64
	filters     atomic.Bool // runs get filters, from the first Link on: a cold tier reads them

	// Where foreign runs lie, by entry.base: opened by the first read, until Close. Taken
	// last.
	foreign struct {
		sync.Mutex
		stores map[string]*objstore.FS
	}

	// Taken in this order.
	finish sync.Mutex // held by the Finish whose turn it is
	change sync.Mutex // held while runs leave the list, and while an ack is made of it
	mu     struct {
		sync.Mutex
		entries []*entry // oldest first
		counter int      // names given so far
		// cut is the run of the newest cut, or what it has been merged into, and of an empty one
		// the run before; nil: there is none. While listing, its ack is being made, and what
		// stands behind it is newer: eviction runs of what changed since.
		cut     *entry
		listing bool
		rebase  *rebase  // the last one started
		merging *merging // what it merges now, nil: nothing
		links   int      // calls of Link
		looked  int      // length of the list when one was last thought of
		merged  int64    // bytes that rebases wrote since the last ack
		behind  []*Behind
		brought chan struct{} // closed when behind have been brought; nil: there are none
	}
}

// entry is a run of the list and where its bytes are.
type entry struct {
	run   run.Run // immutable; its FirstAck does not count
	base  string  // where the store of a foreign run is; "" = the job's
	local bool    // its files are in Options.Dir
	own   bool    // this list wrote it

	// Guarded by List.mu.
	behind   bool   // a cold tier reads it where it is stored
	stored   bool   // in the store, or inline
	firstAck uint64 // checkpoint in whose ack it was first listed; 0 = not yet

	// Guarded by List.change.
	places []place // by file: where upload has stored it; nil: as the run says
	acks   int     // in which it was listed
}

// New returns an empty list, with its folder cleared.
func New(o Options) (*List, error) {
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("clear the folder of local runs: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of local runs: %w", err)
	}
	l := &List{o: o, states: func() []statebackend.Descriptor { return nil }, job: jobOf(o.Store), squeezeMost: squeezeBytes}
	l.life, l.end = context.WithCancel(context.Background())
	return l, nil
}

// jobOf tells the job's objects from those of others.
func jobOf(s objstore.Store) string {
	sum := xxh3.HashString128(s.URL()).Bytes()
	return fmt.Sprintf("%x", sum[:6])
}

// Restore makes the list that of a new subtask: the runs of each old one, by
// reference, each listed with the key groups that count.
func (l *List) Restore(from []statebackend.Restored) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, old := range from {
		list, err := run.FromProto(old.Runs)
		if err != nil {
			return fmt.Errorf("restore a run list: %w", err)
		}
		shared, ok := old.Range.Intersect(l.o.Range)
		if !ok {
			continue
		}
		for i, r := range list {
			if r, ok := r.Clip(shared); ok {
				l.mu.entries = append(l.mu.entries, &entry{run: r, base: old.Runs[i].BasePath, stored: true, firstAck: r.FirstAck})
			}
		}
	}
	return nil
}

// Bytes is the size of all runs.
func (l *List) Bytes() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.mu.entries {
		n += e.run.Bytes
	}
	return n
}

func (l *List) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.counter++
	return fmt.Sprintf("%s-%s-%s-%d-%d", l.job, l.o.Attempt, l.o.Operator, l.o.Subtask, l.mu.counter)
}

// Add writes the cut of an eviction to local disk, appends it to the list and
// returns links to its files for the cold tier (nil for an empty cut). The next
// snapshot uploads it.
func (l *List) Add(ctx context.Context, c *table.Cut) (files []string, err error) {
	if c.Len() == 0 {
		return nil, nil
	}
	e, err := l.write(ctx, l.name(), 0, c.Encode)
	if err == nil {
		files, err = l.link(e, l.o.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("write an eviction run: %w", err)
	}
	if l.append(e) >= lookEvery {
		l.startRebase() // there may be no checkpoints
	}
	return files, nil
}

// lookEvery eviction runs it is looked whether too many overlap.
const lookEvery = 16

// append adds e to the list, and returns how many were since a rebase was thought of.
func (l *List) append(e *entry) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.entries = append(l.mu.entries, e)
	return len(l.mu.entries) - l.mu.looked
}

// place puts e, with the run of s, in the place of old, or at the end if there are none; e
// may be nil. It begins the ack: of what is in the list now, or takes its place. All at
// once, so that it is known whether Link has seen the run.
func (l *List) place(old []*entry, e *entry, s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(old) > 0:
		l.replaceLocked(old, e)
	case e != nil:
		l.mu.entries = append(l.mu.entries, e)
	}
	l.mu.listing, l.mu.cut = true, nil
	if n := len(l.mu.entries); n > 0 {
		l.mu.cut = l.mu.entries[n-1]
	}
	s.links = l.mu.links
}

// linked reports whether Link has come by since the run of s was listed.
func (l *List) linked(s *Snapshot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.links < l.mu.links
}

// unlist ends it.
func (l *List) unlist() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.listing = false
}

// listed are the entries of the cut that is being listed. What was evicted since is not:
// the store may have changed.
func (l *List) listed() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.entries[:slices.Index(l.mu.entries, l.mu.cut)+1])
}

// copyEntries returns the list as it stands.
func (l *List) copyEntries() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.mu.entries)
}

// replace puts fresh in the place of old, which are adjacent in the list.
func (l *List) replace(old []*entry, fresh *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replaceLocked(old, fresh)
}

// replaceLocked is replace for who holds mu.
func (l *List) replaceLocked(old []*entry, fresh *entry) {
	i := slices.Index(l.mu.entries, old[0])
	if i < 0 || !slices.Equal(l.mu.entries[i:i+len(old)], old) {
		panic("weir: BUG: runs to be replaced are not adjacent in the list")
	}
	if slices.Contains(old, l.mu.cut) {
		if l.mu.cut = fresh; fresh == nil && i > 0 {
			l.mu.cut = l.mu.entries[i-1]
		}
	}
	if fresh == nil {
		l.mu.entries = slices.Delete(l.mu.entries, i, i+len(old))
	} else {
		l.mu.entries = slices.Replace(l.mu.entries, i, i+len(old), fresh)
	}
	l.mu.looked = min(l.mu.looked, len(l.mu.entries))
}

// forget removes local files of runs that left the list. They are a cache: what
// can't be removed now goes with the folder.
func (l *List) forget(old []*entry) error {
	var errs []error
	for _, e := range old {
		for _, f := range e.run.Files {
			if !e.local {
				break
			}
			if err := os.Remove(filepath.Join(l.o.Dir, f.Base())); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Close stops what runs in the background, removes the local files and closes the
// folders of foreign runs.
func (l *List) Close() error {
	l.Halt()
	errs := []error{l.closeBehind()}
	l.foreign.Lock()
	for _, s := range l.foreign.stores {
		errs = append(errs, s.Close())
	}
	l.foreign.stores = nil
	l.foreign.Unlock()
	if err := os.RemoveAll(l.o.Dir); err != nil {
		errs = append(errs, fmt.Errorf("remove local runs: %w", err))
	}
	return errors.Join(errs...)
}
