package inflight

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
)

// Writer writes what a subtask keeps of one checkpoint's records in flight: part after
// part into one object or, without a store, into memory.
type Writer struct {
	name   string          // of the object
	object objstore.Writer // nil: the parts are inline
	out    *bufio.Writer   // to object

	offset uint64 // of what is written next
	// Of the part being written.
	sum     hash.Hash
	records uint64
	inline  []byte
}

// Create begins the object called name in store; nil store: the parts are inline.
func Create(ctx context.Context, store objstore.Store, name string) (*Writer, error) {
	w := &Writer{name: name, sum: sha256.New()}
	if store == nil {
		return w, nil
	}
	var err error
	if w.object, err = store.Create(ctx, name); err != nil {
		return nil, err
	}
	w.out = bufio.NewWriterSize(w.object, blockBytes)
	return w, nil
}

// Write adds pieces to the part.
func (w *Writer) Write(pieces []byte) error {
	for b := pieces; len(b) > 0; {
		size, err := sizeOf(b)
		if err != nil || size == 0 || size > len(b) {
			panic(fmt.Sprintf("weir: BUG: %d of %d bytes to be written are no piece: %v", len(b), len(pieces), err))
		}
		w.records += uint64(binary.LittleEndian.Uint16(b[6:]))
		b = b[size:]
	}
	w.sum.Write(pieces)
	if w.object == nil {
		w.inline = append(w.inline, pieces...)
	} else if _, err := w.out.Write(pieces); err != nil {
		return fmt.Errorf("write records in flight to %s: %w", w.name, err)
	}
	w.offset += uint64(len(pieces))
	return nil
}

// Part has write fill the next part, and notes in state where it lies and what it is. It
// reports whether the part has any records.
func (w *Writer) Part(state *metapb.ChannelState, write func() error) (any bool, err error) {
	begin := w.offset
	w.records, w.inline = 0, nil
	w.sum.Reset()
	if err := write(); err != nil {
		return false, err
	}
	state.Records, state.Size, state.Digest = w.records, w.offset-begin, w.sum.Sum(nil)
	if w.object == nil {
		state.Pieces = w.inline
	} else {
		state.File, state.Offset = w.name, begin
	}
	return w.records > 0, nil
}

// Bytes is how much was written.
func (w *Writer) Bytes() uint64 { return w.offset }

// Commit makes the object durable and visible.
func (w *Writer) Commit(ctx context.Context) error {
	if w.object == nil || w.offset == 0 {
		return w.Abort()
	}
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("write records in flight to %s: %w", w.name, err)
	}
	return w.object.Commit(ctx)
}

// Abort drops what was written; after Commit it does nothing.
func (w *Writer) Abort() error {
	if w.object == nil {
		return nil
	}
	return w.object.Abort()
}
