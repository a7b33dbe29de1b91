package runlist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// Behind is a file that a cold tier reads where it lies, in the job's checkpoint folder,
// until it has been brought to the tier's own: so a restore waits for no bytes of state.
//
// Until then its run stays in the list: a run that is not listed is deleted. Runs of
// another job's snapshot are brought at once instead, because a full checkpoint, which
// lists none of them, releases that snapshot.
type Behind struct {
	path string // where it is brought
	r    run.Run
	n    int // file of r
	open run.Opener

	local atomic.Pointer[os.File] // once it is there, whole and verified
}

// Name is the file's name in the tier's folder.
func (b *Behind) Name() string { return filepath.Base(b.path) }

// Size is the file's length in bytes.
func (b *Behind) Size() int64 { return b.r.Files[b.n].Size }

// Open opens the file for reading, from wherever it is.
func (b *Behind) Open(ctx context.Context) (objstore.Reader, error) {
	r := &behindReader{b: b}
	if b.local.Load() == nil {
		var err error
		if r.Reader, err = b.open(ctx, b.r.Files[b.n].Name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

type behindReader struct {
	objstore.Reader // nil if the file had been brought
	b               *Behind
}

// ReadAt implements io.ReaderAt.
func (r *behindReader) ReadAt(p []byte, off int64) (int, error) {
	if f := r.b.local.Load(); f != nil {
		return f.ReadAt(p, off)
	}
	return r.Reader.ReadAt(p, off)
}

// Size implements objstore.Reader.
func (r *behindReader) Size() int64 { return r.b.Size() }

// Close implements io.Closer.
func (r *behindReader) Close() error {
	if r.Reader == nil {
		return nil
	}
	return r.Reader.Close()
}

// bringBehind brings the files of runs that Link has not, one list at a time in a process
// and slowly; damage is told by Damaged. The caller holds mu.
func (l *List) bringBehind(all map[*entry][]*Behind) {
	if len(all) == 0 {
		return
	}
	done := make(chan struct{})
	l.mu.brought = done
	for e, files := range all {
		e.behind = true
		l.mu.behind = append(l.mu.behind, files...)
	}
	l.background.Go(func() {
		defer close(done)
		select {
		case verifyTurn <- struct{}{}:
			defer func() { <-verifyTurn }()
		case <-l.life.Done():
			return
		}
		for e, files := range all {
			for _, b := range files {
				if !l.insist("bring", func() error { return b.bring(l.life, l.paced(b.open)) }) {
					return
				}
			}
			l.mu.Lock()
			e.behind = false
			l.mu.Unlock()
		}
	})
}

// bring copies the file, verified on the way.
func (b *Behind) bring(ctx context.Context, open run.Opener) error {
	if err := copyFile(ctx, open, b.r, b.n, b.path); err != nil {
		return errors.Join(err, os.Remove(b.path)) // the disk may be full
	}
	f, err := os.Open(b.path)
	if err != nil {
		return err
	}
	b.local.Store(f)
	return nil
}

// waitBehind waits until every file is where it is read: then runs may leave the list.
func (l *List) waitBehind(ctx context.Context) error {
	l.mu.Lock()
	done := l.mu.brought
	l.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return l.Damaged()
	case <-ctx.Done():
		return fmt.Errorf("wait for restored runs to be brought: %w", context.Cause(ctx))
	}
}

// reading reports whether the cold tier reads a run in the job's checkpoint folder. The
// caller holds mu.
func (l *List) reading() int {
	for i := len(l.mu.entries) - 1; i >= 0; i-- {
		if l.mu.entries[i].behind {
			return i + 1
		}
	}
	return 0
}

// Halt ends what runs in the background. Whoever reads by Link closes its readers before
// Close.
func (l *List) Halt() {
	l.end()
	l.background.Wait()
}

// closeBehind closes the files that have been brought.
func (l *List) closeBehind() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, b := range l.mu.behind {
		if f := b.local.Load(); f != nil {
			errs = append(errs, f.Close())
		}
	}
	l.mu.behind = nil
	return errors.Join(errs...)
}
