package inflight

import (
	"context"
	"fmt"
	"slices"
)

// Reader reads sources one after the other, a little ahead of who takes their pieces.
type Reader struct {
	// Immutable after NewReader.
	sources []Source
	wake    func()
	stop    context.CancelFunc
	done    chan struct{} // closed when the goroutine has returned

	full chan block  // read, in order; closed behind the last
	free chan []byte // to be read into

	// Of the taking goroutine.
	block block  // being taken
	left  []byte // of block
	taken []int64
	over  bool
}

// block is some pieces of a source, or why there are none.
type block struct {
	source int
	pieces []byte
	err    error
}

// blocks is how many lie ahead of the one being taken.
const blocks = 2

// NewReader begins to read. wake is called, from the reader's goroutine, whenever Next has
// something new to say.
func NewReader(ctx context.Context, sources []Source, wake func()) *Reader {
	ctx, stop := context.WithCancel(ctx)
	r := &Reader{
		sources: sources, wake: wake, stop: stop, done: make(chan struct{}), taken: make([]int64, len(sources)),
		full: make(chan block, blocks+2), free: make(chan []byte, blocks+1),
	}
	for range blocks + 1 {
		r.free <- nil
	}
	go r.run(ctx)
	return r
}

func (r *Reader) run(ctx context.Context) {
	defer close(r.done)
	take := func() ([]byte, error) {
		select {
		case b := <-r.free:
			return b, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("read records in flight: %w", context.Cause(ctx))
		}
	}
	for i, s := range r.sources {
		err := s.scan(ctx, take, func(pieces []byte) error {
			r.full <- block{source: i, pieces: pieces} // never waits: there is room for all buffers and an error
			r.wake()
			return nil
		})
		if err != nil {
			r.full <- block{source: i, err: err}
			r.wake()
			return
		}
	}
	close(r.full)
	r.wake()
}

// Next takes the next piece, which is of the source numbered source and valid until the
// next call. It does not block: p is nil if none is there yet, and when all have been
// taken (Over). After an error there is nothing more.
func (r *Reader) Next() (p Piece, source int, err error) {
	for len(r.left) == 0 {
		if r.over || r.block.err != nil {
			return nil, r.block.source, r.block.err
		}
		if b := r.block.pieces; b != nil {
			r.block.pieces = nil
			if cap(b) > 2*blockBytes { // of a large record
				b = nil
			}
			r.free <- b
		}
		select {
		case b, ok := <-r.full:
			if !ok {
				r.over = true
				return nil, 0, nil
			}
			r.block, r.left = b, b.pieces // none in the beginning of a large record
		default:
			return nil, 0, nil
		}
	}
	p, rest, err := Cut(r.left)
	if err != nil {
		r.block.err = fmt.Errorf("%s: %w", r.sources[r.block.source].name(), err)
		r.left = nil
		return nil, r.block.source, r.block.err
	}
	r.left = rest
	r.taken[r.block.source] += int64(len(p))
	return p, r.block.source, nil
}

// Over reports whether all pieces have been taken.
func (r *Reader) Over() bool { return r.over }

// Taken is how many bytes of each source Next has returned. What is behind is what a
// checkpoint has to keep.
func (r *Reader) Taken() []int64 { return slices.Clone(r.taken) }

// Close ends the reading.
func (r *Reader) Close() {
	r.stop()
	<-r.done
}
