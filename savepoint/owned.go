package savepoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// ownedPart is a task-owned file that a subtask's state refers to. One of a checkpoint that
// is gone is no damage: its operator has deleted it, because it has no use for it any more.
// The copies of a self-contained snapshot are nobody's but its own.
type ownedPart struct {
	at   Problem
	sub  *metapb.SubtaskSnapshot
	f    *metapb.OwnedFile
	must bool // be there
}

// ownedParts are those of m; alone: it is self-contained.
func ownedParts(m *metapb.CheckpointMetadata, alone bool) (parts []ownedPart) {
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, f := range sub.Owned {
				at := Problem{Operator: op.Uid, Subtask: int(sub.Index), Run: "task-owned file", File: cmp.Or(f.File, f.Name)}
				parts = append(parts, ownedPart{at, sub, f, alone && f.BasePath == ""})
			}
		}
	}
	return parts
}

// place is the name that the file lies under.
func (p ownedPart) place() string { return cmp.Or(p.f.File, p.f.Name) }

// verify compares size and digest; there is false if the file is gone.
func (p ownedPart) verify(ctx context.Context, open run.Opener) (there bool, err error) {
	r, err := open(ctx, p.place())
	if errors.Is(err, objstore.ErrNotFound) && !p.must {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	damaged := func(what, want, got string) error {
		return &run.CorruptError{Run: p.at.Run, File: p.place(), What: what, Want: want, Got: got}
	}
	if uint64(r.Size()) != p.f.Size {
		return true, damaged("size in bytes", fmt.Sprint(p.f.Size), fmt.Sprint(r.Size()))
	}
	hash := sha256.New()
	if err := copyBytes(ctx, hash, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return true, err
	}
	if got := hash.Sum(nil); !bytes.Equal(got, p.f.Digest) {
		return true, damaged("digest", fmt.Sprintf("%x", p.f.Digest), fmt.Sprintf("%x", got))
	}
	return true, nil
}

// ownedSuffix ends the names of task-owned files in a savepoint.
const ownedSuffix = ".owned"

// takeOwned copies the task-owned files that are still there, verified; the others are
// listed no more.
func (c *copier) takeOwned(ctx context.Context, m *metapb.CheckpointMetadata) error {
	kept := map[*metapb.SubtaskSnapshot][]*metapb.OwnedFile{}
	parts := ownedParts(m, c.s.meta.SelfContained)
	for _, p := range parts {
		open := c.s.opener(&metapb.Run{BasePath: p.f.BasePath})
		there, err := p.verify(ctx, open)
		if p.at.Err = err; err != nil {
			return &p.at
		}
		if !there {
			continue
		}
		name := run.File{Name: p.f.Name}.Base() + ownedSuffix // unique: names of one folder are
		if err := c.takeFile(ctx, open, p.place(), name); errors.Is(err, objstore.ErrNotFound) && !p.must {
			continue // deleted in this moment
		} else if err != nil {
			p.at.Err = err
			return &p.at
		}
		p.f.File, p.f.BasePath = name, ""
		if _, err := p.verify(ctx, c.t.store.Open); err != nil {
			return err // of the copy
		}
		kept[p.sub] = append(kept[p.sub], p.f)
	}
	for _, p := range parts {
		p.sub.Owned = kept[p.sub]
	}
	return nil
}
