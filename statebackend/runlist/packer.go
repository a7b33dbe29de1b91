package runlist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Packer puts the small files that the subtasks of one attempt in one worker write for a
// checkpoint into one object, a pack: its files one behind the other and nothing else.
// Where a file begins, and its digests, stand in the run that lists it. All of the worker's
// lists share the Packer.
//
// A pack that cannot be stored fails the snapshots of all that have a part in it. They hand
// their files over again with the next one; what the failure may have left in the store is
// nobody's, and goes with the attempt's other orphans.
type Packer struct {
	// Linger is how long a file waits for others, 5 ms. To be set before the first use.
	Linger time.Duration

	store objstore.Store
	name  string // of the packs, up to a number

	mu      sync.Mutex
	packing packing // guarded by mu
	counter int     // guarded by mu: packs named so far
}

// NewPacker returns the packer of an attempt in the worker of that number, which no other
// worker of the attempt has.
func NewPacker(store objstore.Store, attempt string, worker uint64) *Packer {
	return &Packer{Linger: packLinger, store: store, name: fmt.Sprintf("%s/%s-%s-w%d", folder, jobOf(store), attempt, worker)}
}

// handover is what one subtask puts into a pack.
type handover struct {
	files [][]byte
	size  int64

	done chan struct{} // closed when the pack is stored, or never will be
	// Valid when done is closed. No places and no error: nobody else had anything, and a
	// file alone needs no pack.
	places []place
	err    error

	// Guarded by Packer.mu.
	gone bool      // nobody waits for it
	pack *fullPack // once it is closed
}

// place is where a file is stored.
type place struct {
	object       string // "": nowhere
	offset, pack int64  // in a pack of that size; pack 0: the object is the file
}

// fullPack is a pack that is being written.
type fullPack struct {
	name    string
	parts   []*handover
	waiting int // guarded by Packer.mu: of the parts
	cancel  context.CancelFunc
}

// member is one subtask's part in a checkpoint. Nil: it packs nothing.
type member struct {
	p    *Packer
	id   stream.CheckpointID
	over bool // guarded by p.mu: it has handed over, or left
}

// join: a subtask takes part in checkpoint id.
func (p *Packer) join(id stream.CheckpointID) *member {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packing.join(id)
	return &member{p: p, id: id}
}

// leave: nobody need wait for this subtask any more.
func (m *member) leave() {
	if m == nil {
		return
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if m.over {
		return
	}
	m.over = true
	m.p.write(m.p.packing.leave(m.id))
}

// handOver reads the files, all of them small, and puts them into the checkpoint's pack.
func (m *member) handOver(paths []string) (*handover, error) {
	h := &handover{done: make(chan struct{})}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		h.files = append(h.files, b)
		h.size += int64(len(b))
	}
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.over { // given up meanwhile
		close(h.done)
		return h, nil
	}
	m.over = true
	for _, closed := range p.packing.hand(m.id, h, time.Now().Add(p.Linger)) {
		p.write(closed)
	}
	if h.pack == nil {
		time.AfterFunc(p.Linger, p.expire)
	}
	return h, nil
}

func (p *Packer) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, closed := range p.packing.expire(time.Now()) {
		p.write(closed)
	}
}

// wait waits until the files are stored and says where.
func (h *handover) wait(ctx context.Context, p *Packer) ([]place, error) {
	select {
	case <-h.done:
		return h.places, h.err
	case <-ctx.Done():
		p.abandon(h)
		return nil, fmt.Errorf("wait for a pack: %w", context.Cause(ctx))
	}
}

// abandon: nobody waits for h any more. A pack that nobody waits for is given up.
func (p *Packer) abandon(h *handover) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.gone {
		return
	}
	h.gone = true
	if f := h.pack; f != nil {
		if f.waiting--; f.waiting == 0 {
			f.cancel()
		}
	}
}

// write has a pack of the parts written by a goroutine of its own: none of the subtasks
// that wait for it may end it for the others. The caller holds mu.
func (p *Packer) write(parts []*handover) {
	f := &fullPack{}
	files := 0
	for _, h := range parts {
		h.pack = f
		if !h.gone {
			f.parts = append(f.parts, h)
			files += len(h.files)
		}
	}
	if files < 2 {
		for _, h := range f.parts {
			close(h.done)
		}
		return
	}
	p.counter++
	f.name = fmt.Sprintf("%s-%d.pack", p.name, p.counter)
	f.waiting = len(f.parts)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer cancel()
		f.write(ctx, p.store)
	}()
}

// write stores the pack and tells everybody.
func (f *fullPack) write(ctx context.Context, store objstore.Store) {
	var all []io.Reader
	size := int64(0)
	for _, h := range f.parts {
		for _, b := range h.files {
			h.places = append(h.places, place{object: f.name, offset: size})
			all = append(all, bytes.NewReader(b))
			size += int64(len(b))
		}
	}
	err := objstore.Put(ctx, store, f.name, io.MultiReader(all...))
	if errors.Is(err, objstore.ErrUnknown) {
		err = readBack(ctx, store, f.name, size, err)
	}
	for _, h := range f.parts {
		for i := range h.places {
			h.places[i].pack = size
		}
		if err != nil {
			h.places, h.err = nil, fmt.Errorf("store pack %s of %d subtasks: %w", f.name, len(f.parts), err)
		}
		h.files = nil
		close(h.done)
	}
}

// readBack decides about an object of which the store cannot say whether it was written
// (I4).
func readBack(ctx context.Context, store objstore.Store, name string, size int64, cause error) error {
	r, err := store.Open(ctx, name)
	if err != nil {
		return errors.Join(cause, err)
	}
	if r.Size() != size {
		cause = fmt.Errorf("object %s has %d bytes, %d were written: %w", name, r.Size(), size, statebackend.ErrCorrupt)
	} else {
		cause = nil
	}
	return errors.Join(cause, r.Close())
}

// smallFile is a file that goes into a pack.
type smallFile struct {
	e *entry
	n int
}

// small chooses what of the entries, which the store lacks, goes into a pack.
func small(entries []*entry) (files []smallFile) {
	size := int64(0)
	for _, e := range entries {
		for n, f := range e.run.Files {
			if e.stored || e.places[n].object != "" || f.Size > packedSize || size+f.Size > handoverSize {
				continue
			}
			size += f.Size
			files = append(files, smallFile{e, n})
		}
	}
	return files
}

// storeAll stores what the store lacks of the entries: small files together with those
// of the worker's other subtasks, the others each for itself. The caller holds change.
func (l *List) storeAll(ctx context.Context, entries []*entry, m *member) error {
	for _, e := range entries {
		if e.places == nil {
			e.places = make([]place, len(e.run.Files))
		}
	}
	var packed []smallFile
	if m != nil {
		packed = small(entries)
	}
	if len(packed) == 0 {
		m.leave()
		return l.storeEach(ctx, entries, nil)
	}
	paths := make([]string, len(packed))
	inPack := map[smallFile]bool{}
	for i, s := range packed {
		paths[i] = filepath.Join(l.o.Dir, s.e.run.Files[s.n].Base())
		inPack[s] = true
	}
	h, err := m.handOver(paths)
	if err != nil {
		return err
	}
	defer m.p.abandon(h)
	if err := l.storeEach(ctx, entries, inPack); err != nil {
		return err
	}
	places, err := h.wait(ctx, m.p)
	if err != nil {
		return fmt.Errorf("run %s: %w", packed[0].e.run.ID, err)
	}
	for i, at := range places {
		packed[i].e.places[packed[i].n] = at
	}
	return l.storeEach(ctx, entries, nil) // a file that had to go alone after all
}

// storeEach stores the files that have no place yet, but those in except.
func (l *List) storeEach(ctx context.Context, entries []*entry, except map[smallFile]bool) error {
	for _, e := range entries {
		if e.stored {
			continue
		}
		for n, f := range e.run.Files {
			if e.places[n].object != "" || except[smallFile{e, n}] {
				continue
			}
			if err := l.storeFile(ctx, f); err != nil {
				return fmt.Errorf("run %s: %w", e.run.ID, err)
			}
			e.places[n] = place{object: f.Name}
		}
	}
	return nil
}

// packAcks is how many acks list a file in a pack. A run that has lasted so long may last
// for ever, in a subtask of which no key changes, and keep the parts of all others in the
// store. So a worker has at most the packs of so many checkpoints, and those that a restore
// took over, until their runs are merged.
const packAcks = 16

// unpack stores files anew, each for itself, that have been in a pack for too long. The
// caller holds change.
func (l *List) unpack(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		if e.acks < packAcks || !e.local {
			continue
		}
		for n, f := range e.run.Files {
			if e.places == nil || e.places[n].pack == 0 {
				continue
			}
			if err := l.storeFile(ctx, f); err != nil {
				return fmt.Errorf("run %s: %w", e.run.ID, err)
			}
			e.places[n] = place{object: f.Name}
		}
	}
	return nil
}
