package runlist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// verifyPause follows each verifyPiece that is read: 100 MB a second at most, so that
// records that wait for the same disk hardly notice.
const (
	verifyPause = 2500 * time.Microsecond
	verifyPiece = 256 << 10
)

// VerifyBehind compares the whole digests of the runs that were restored, in the
// background, one list at a time in a process: a reader compares the tail of a file
// at once and a block's checksum when it reads it, and blocks that nobody reads stay
// unseen. Damaged tells what was found.
func (l *List) VerifyBehind() {
	var restored []*entry
	l.mu.Lock()
	for _, e := range l.mu.entries {
		if !e.own && !e.behind { // those are compared as they are brought
			restored = append(restored, e)
		}
	}
	l.mu.Unlock()
	if len(restored) == 0 {
		return
	}
	l.background.Go(func() {
		select {
		case verifyTurn <- struct{}{}:
			defer func() { <-verifyTurn }()
		case <-l.life.Done():
			return
		}
		for _, e := range restored {
			if !l.insist("verify", func() error { return e.run.Verify(l.life, l.paced(l.opener(e))) }) {
				return
			}
		}
	})
}

// insistPause is the time until a disk or store that failed is asked again.
const insistPause = 10 * time.Second

// insist calls f until it succeeds. What says that a run is damaged, or gone, is kept for
// Damaged; a store that can't be read, or a full disk, may be well again, and no record
// waits for it. It reports whether to go on.
func (l *List) insist(verb string, f func() error) bool {
	for {
		err := f()
		switch {
		case l.life.Err() != nil:
			return false
		case err == nil:
			return true
		case errors.Is(err, run.ErrCorrupt), errors.Is(err, run.ErrFormat), errors.Is(err, objstore.ErrNotFound):
			err = fmt.Errorf("%s what was restored: %w", verb, err)
			l.damaged.CompareAndSwap(nil, &err)
			return false
		}
		select {
		case <-time.After(insistPause):
		case <-l.life.Done():
			return false
		}
	}
}

// verifyTurn is held by the list whose runs are being verified.
var verifyTurn = make(chan struct{}, 1)

// Damaged is what VerifyBehind has found wrong, or nil.
func (l *List) Damaged() error {
	if err := l.damaged.Load(); err != nil {
		return *err
	}
	return nil
}

// paced is an opener of readers that take their time.
func (l *List) paced(open run.Opener) run.Opener {
	return func(ctx context.Context, name string) (objstore.Reader, error) {
		r, err := open(ctx, name)
		if err != nil {
			return nil, err
		}
		return &pacedReader{Reader: r, ctx: ctx}, nil
	}
}

type pacedReader struct {
	objstore.Reader
	ctx  context.Context // of the verifying
	read int             // bytes since the last pause
}

// ReadAt implements io.ReaderAt.
func (r *pacedReader) ReadAt(p []byte, off int64) (int, error) {
	if r.read += len(p); r.read >= verifyPiece {
		r.read = 0
		select {
		case <-time.After(verifyPause):
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	return r.Reader.ReadAt(p, off)
}
