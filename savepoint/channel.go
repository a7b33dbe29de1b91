package savepoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// channelPart is what an unaligned checkpoint has of one channel, in a file or inline.
type channelPart struct {
	at Problem
	c  *metapb.ChannelState
}

// channelParts are those of m, in order. Problem.Run says whose records they are.
func channelParts(m *metapb.CheckpointMetadata) (parts []channelPart) {
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, c := range sub.ChannelStates {
				at := Problem{Operator: op.Uid, Subtask: int(sub.Index), Run: "records in flight from " + c.FromUid, File: c.File}
				parts = append(parts, channelPart{at, c})
			}
		}
	}
	return parts
}

// verify compares the digest of the part.
func (p channelPart) verify(ctx context.Context, open run.Opener) error {
	hash := sha256.New()
	if p.c.File == "" {
		hash.Write(p.c.Pieces)
		if len(p.c.Digest) == 0 {
			return nil // inline: the digest of _metadata covers it
		}
	} else {
		r, err := open(ctx, p.c.File)
		if err != nil {
			return err
		}
		defer r.Close()
		if end := p.c.Offset + p.c.Size; end < p.c.Offset || end > uint64(r.Size()) {
			return p.damaged("size in bytes", fmt.Sprintf("%d or more", end), fmt.Sprint(r.Size()))
		}
		if err := copyBytes(ctx, hash, io.NewSectionReader(r, int64(p.c.Offset), int64(p.c.Size))); err != nil {
			return err
		}
	}
	if got := hash.Sum(nil); !bytes.Equal(got, p.c.Digest) {
		return p.damaged("digest", fmt.Sprintf("%x", p.c.Digest), fmt.Sprintf("%x", got))
	}
	return nil
}

func (p channelPart) damaged(what, want, got string) error {
	return &run.CorruptError{Run: p.at.Run, File: p.at.File, Offset: int64(p.c.Offset), What: what, Want: want, Got: got}
}

// takeChannels copies the files of records in flight, verified, and names them anew.
func (c *copier) takeChannels(ctx context.Context, m *metapb.CheckpointMetadata) error {
	names, taken := map[string]string{}, map[string]bool{}
	open := c.s.opener(&metapb.Run{})
	for _, p := range channelParts(m) {
		if p.at.Err = p.verify(ctx, open); p.at.Err != nil {
			return &p.at
		}
		if p.c.File == "" {
			continue
		}
		if names[p.c.File] == "" {
			name := run.File{Name: p.c.File}.Base()
			for name += channelSuffix; taken[name]; {
				name = "x" + name
			}
			names[p.c.File], taken[name] = name, true
			if p.at.Err = c.takeFile(ctx, open, p.c.File, name); p.at.Err != nil {
				return &p.at
			}
		}
		p.c.File = names[p.c.File]
		if err := p.verify(ctx, c.t.store.Open); err != nil {
			return err // of the copy
		}
	}
	return nil
}

// channelSuffix ends the names of files with records in flight, in a savepoint.
const channelSuffix = ".channel"

func (c *copier) takeFile(ctx context.Context, open run.Opener, from, to string) error {
	c.t.note(to)
	r, err := open(ctx, from)
	if err != nil {
		return err
	}
	defer r.Close()
	err = objstore.Put(ctx, c.t.store, to, io.NewSectionReader(r, 0, r.Size()))
	if errors.Is(err, objstore.ErrExists) || errors.Is(err, objstore.ErrUnknown) {
		return nil // the parts are verified in a moment
	}
	return err
}
