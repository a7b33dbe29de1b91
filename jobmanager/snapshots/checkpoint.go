package snapshots

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"syscall"

	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// ReadCheckpoint reads what a pointer points to. Damaged says that the bytes are not
// those that were written, or are gone: recovery falls back, loudly. Every other
// error may pass (the store is away, a newer version wrote it): to go back to an older
// checkpoint because of it would undo what sinks have committed (I5).
func ReadCheckpoint(ctx context.Context, store objstore.Store, p *metapb.CheckpointPointer) (meta *metapb.CheckpointMetadata, damaged bool, err error) {
	name := stream.CheckpointID(p.CheckpointId).String() + "/" + metadata.FileName
	file, err := objstore.Get(ctx, store, name, metadata.MaxSize)
	if err != nil {
		return nil, errors.Is(err, objstore.ErrNotFound) || errors.Is(err, syscall.EIO), err
	}
	if sum := sha256.Sum256(file); uint64(len(file)) != p.Size || !bytes.Equal(sum[:], p.Digest) {
		return nil, true, fmt.Errorf("%s has %d bytes with digest %x, its pointer says %d bytes with digest %x", name, len(file), sum, p.Size, p.Digest)
	}
	meta, err = metadata.Decode(file)
	return meta, err != nil && !errors.Is(err, metadata.ErrVersion), err
}
