package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// NB: persisted for ever. A _metadata file is
//
//	offset  size  content
//	0       8     magic: "WEIRMETA"
//	8       4     format version, big endian
//	12      8     length n of the payload in bytes, big endian
//	20      n     payload: metapb.CheckpointMetadata, deterministic protobuf
//	20+n    32    SHA-256 of everything before it
//
// and nothing after it. The digest covers the header too, so that a flipped version
// is damage and not a newer version; the version is looked at first only when magic
// and digest fit.
const (
	magic      = "WEIRMETA"
	headerSize = len(magic) + 4 + 8
	// MaxSize is the largest file that is read: 8 MiB of inline runs, and 20 KiB of
	// references for each of 10,000 subtasks, leave room below it.
	MaxSize = 1 << 30
)

// Versions of the format; never reused.
const (
	// Version1: the first.
	Version1 uint32 = 1
)

// FileName is the name of the file in a checkpoint's folder.
const FileName = "_metadata"

// Errors by what the caller does about them.
var (
	// ErrCorrupt: these are not the bytes that were written. Fall back, loudly.
	ErrCorrupt = errors.New("damaged _metadata")
	// ErrVersion: written by a newer program.
	ErrVersion = errors.New("_metadata of a newer version")
	// ErrInvalid: what it says is impossible or not allowed.
	ErrInvalid = errors.New("invalid _metadata")
)

// Encode returns the file that holds m.
func Encode(m *metapb.CheckpointMetadata) ([]byte, error) {
	if err := Validate(m); err != nil {
		return nil, fmt.Errorf("encode _metadata of checkpoint %d: %w", m.GetCheckpointId(), err)
	}
	file := make([]byte, headerSize, headerSize+proto.Size(m)+sha256.Size)
	file, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(file, m)
	if err != nil {
		return nil, fmt.Errorf("encode _metadata of checkpoint %d: %w", m.CheckpointId, err)
	}
	copy(file, magic)
	binary.BigEndian.PutUint32(file[8:], Version1)
	binary.BigEndian.PutUint64(file[12:], uint64(len(file)-headerSize))
	if len(file)+sha256.Size > MaxSize {
		return nil, fmt.Errorf("encode _metadata of checkpoint %d: %d bytes, at most %d can be read back", m.CheckpointId, len(file)+sha256.Size, MaxSize)
	}
	sum := sha256.Sum256(file)
	return append(file, sum[:]...), nil
}

// Decode is the inverse of Encode. Its errors are marked ErrCorrupt, ErrVersion or
// ErrInvalid.
func Decode(file []byte) (*metapb.CheckpointMetadata, error) {
	if len(file) < headerSize+sha256.Size {
		return nil, fmt.Errorf("%w: %d bytes, the shortest file has %d", ErrCorrupt, len(file), headerSize+sha256.Size)
	}
	if len(file) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, the longest file has %d", ErrCorrupt, len(file), MaxSize)
	}
	if string(file[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it begins with %q, not %q", ErrCorrupt, file[:len(magic)], magic)
	}
	body, digest := file[:len(file)-sha256.Size], file[len(file)-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], digest) {
		return nil, fmt.Errorf("%w: the SHA-256 of its %d bytes is %x, it says %x", ErrCorrupt, len(body), sum[:8], digest[:8])
	}
	if v := binary.BigEndian.Uint32(file[8:]); v != Version1 {
		return nil, fmt.Errorf("%w: format version %d, this program reads %d", ErrVersion, v, Version1)
	}
	payload := body[headerSize:]
	if n := binary.BigEndian.Uint64(file[12:]); n != uint64(len(payload)) {
		return nil, fmt.Errorf("%w: %d bytes of payload, it says %d", ErrCorrupt, len(payload), n)
	}
	m := new(metapb.CheckpointMetadata)
	if err := proto.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("%w: decode %d bytes of payload: %w", ErrInvalid, len(payload), err)
	}
	if err := Validate(m); err != nil {
		return nil, err
	}
	return m, nil
}
