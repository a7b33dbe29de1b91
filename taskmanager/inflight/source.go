package inflight

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
)

// Source is what one channel state holds: a part of an object, or bytes at hand.
type Source struct {
	Store objstore.Store // of the object; nil if the pieces are inline
	// Name is what a checkpoint calls the object by which it says that it is still read:
	// below the job's checkpoint folder, or absolute for somebody else's.
	Name  string
	State *metapb.ChannelState
}

// Size is the bytes of its pieces.
func (s Source) Size() int64 {
	if s.State.File == "" {
		return int64(len(s.State.Pieces))
	}
	return int64(s.State.Size)
}

// blockBytes is how much is read at once: with two blocks ahead of it a loop that takes a
// gigabyte a second is not held up by a store that answers in 0.25 ms. What is read lies
// in the processor's cache still when it is taken.
const blockBytes = 256 << 10

// inline is an object of bytes at hand.
type inline struct{ *bytes.Reader }

func (inline) Close() error { return nil }

// open opens the source's object, of which the pieces begin at offset.
func (s Source) open(ctx context.Context) (r objstore.Reader, offset int64, err error) {
	c := s.State
	if c.File == "" {
		return inline{bytes.NewReader(c.Pieces)}, 0, nil
	}
	if r, err = s.Store.Open(ctx, c.File); err != nil {
		return nil, 0, err
	}
	if end := c.Offset + c.Size; end < c.Offset || end > uint64(r.Size()) {
		return nil, 0, errors.Join(fmt.Errorf("%w: %s has %d bytes, bytes %d to %d are wanted", statebackend.ErrCorrupt, c.File, r.Size(), c.Offset, end), r.Close())
	}
	return r, int64(c.Offset), nil
}

// scan reads the source from its beginning and gives its pieces, in blocks of whole ones.
// Each block lies in a buffer that take has returned, and is give's from then on. The
// digest of all of it is compared before the last block is given.
func (s Source) scan(ctx context.Context, take func() ([]byte, error), give func(pieces []byte) error) error {
	r, offset, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	hash, size := sha256.New(), s.Size()
	var begun []byte // of a piece, by the block before
	need := 0        // the size of that piece, if known
	for at := int64(0); at < size; {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("read records in flight: %w", err)
		}
		block, err := take()
		if err != nil {
			return err
		}
		block = append(block[:0], begun...)
		n := int(min(int64(max(blockBytes, need)-len(begun)), size-at))
		block = slices.Grow(block, n)[:len(begun)+n]
		fresh := block[len(begun):]
		if err := objstore.ReadFull(r, fresh, offset+at); err != nil {
			return fmt.Errorf("read records in flight of %s: %w", s.name(), err)
		}
		hash.Write(fresh)
		at += int64(n)
		var ends int
		if ends, need, err = whole(block); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		begun = append(begun[:0], block[ends:]...)
		if at == size {
			if sum := hash.Sum(nil); !bytes.Equal(sum, s.State.Digest) {
				return fmt.Errorf("%w: the digest of %s is not what the checkpoint says", statebackend.ErrCorrupt, s.name())
			}
			if len(begun) > 0 {
				return fmt.Errorf("%s: %w: it ends inside one", s.name(), ErrPiece)
			}
		}
		if err := give(block[:ends]); err != nil {
			return err
		}
	}
	return nil
}

func (s Source) name() string {
	if s.State.File == "" {
		return "what the checkpoint holds inline"
	}
	return s.State.File
}

// CopyFrom writes the pieces from byte from on, as keep leaves them, to w. keep is given
// one at a time and returns the pieces in its place; nil: all as they are.
func (s Source) CopyFrom(ctx context.Context, from int64, keep func(Piece) ([]byte, error), w *Writer) error {
	var buffer []byte
	at := int64(0)
	return s.scan(ctx, func() ([]byte, error) { return buffer, nil }, func(pieces []byte) error {
		buffer = pieces
		for len(pieces) > 0 {
			p, rest, err := Cut(pieces)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
			kept := []byte(p)
			if at >= from && keep != nil {
				if kept, err = keep(p); err != nil {
					return fmt.Errorf("%s: %w", s.name(), err)
				}
			}
			if at >= from {
				if err := w.Write(kept); err != nil {
					return err
				}
			}
			at += int64(len(p))
			pieces = rest
		}
		return nil
	})
}
