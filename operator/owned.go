package operator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/proto/metapb"
)

// OwnedStore is where files of Owned lie. The runtime gives one.
type OwnedStore interface {
	// Put makes b durable under a name that is new.
	Put(ctx context.Context, name string, b []byte) error
	// Get reads a file; ErrNotOwned if it is not there.
	Get(ctx context.Context, f *metapb.OwnedFile) ([]byte, error)
	// Delete removes files of this job; those that are not there are no error.
	Delete(ctx context.Context, names ...string) error
	// List yields the names of this job's files that begin with prefix.
	List(ctx context.Context, prefix string) ([]string, error)
}

// ErrNotOwned: a file that the state refers to is gone.
var ErrNotOwned = errors.New("task-owned file is gone")

// Owned are files of one operator's subtask beside the job's checkpoints: what is too
// much for its state, and of no use to anybody else. The JobManager never deletes one;
// a file lies there until the operator deletes it. A snapshot lists those that the
// subtask keeps. It may be restored when one of them is gone: the operator must know
// what that means, as a sink does that deletes what it has written elsewhere.
//
// Files are named taskowned/{operator}-{incarnation}-{subtask}-{number}; {operator} are
// 12 digits of the SHA-256 of its uid. NB: persisted.
type Owned struct {
	s        *Setup
	kept     map[string]*metapb.OwnedFile
	restored map[string]*metapb.OwnedFile // of all subtasks of the snapshot
	number   int
}

const (
	ownedFolder = "taskowned/"
	ownedDigits = 12
)

// Owned declares that the operator has files of its own.
func (s *Setup) Owned() *Owned {
	if s.owned == nil {
		s.owned = &Owned{s: s, kept: map[string]*metapb.OwnedFile{}, restored: map[string]*metapb.OwnedFile{}}
		for _, f := range s.o.Owned {
			s.owned.restored[f.Name] = f
		}
	}
	return s.owned
}

func (o *Owned) prefix() string {
	sum := sha256.Sum256([]byte(o.s.o.UID))
	return ownedFolder + hex.EncodeToString(sum[:])[:ownedDigits] + "-"
}

// Upload is a file on its way.
type Upload struct {
	o    *Owned
	file *metapb.OwnedFile
	done chan error
}

// Put begins to write a file; b must not be changed before Wait has returned.
func (o *Owned) Put(b []byte) *Upload {
	rt := o.s.o.Runtime
	sum := sha256.Sum256(b)
	u := &Upload{o: o, done: make(chan error, 1), file: &metapb.OwnedFile{
		Name: fmt.Sprintf("%s%d-%d-%d", o.prefix(), rt.Incarnation, rt.Subtask, o.number),
		Size: uint64(len(b)), Digest: sum[:],
	}}
	o.number++
	store, ctx := o.s.o.OwnedStore, rt.Context
	if store == nil {
		u.done <- errors.New("there is no place for task-owned files")
		return u
	}
	go func() { u.done <- store.Put(ctx, u.file.Name, b) }()
	return u
}

// Wait waits until the file is durable and returns its name; snapshots list it from
// then on. It belongs to the goroutine of the subtask, and is called once.
func (u *Upload) Wait() (name string, err error) {
	if err := <-u.done; err != nil {
		return "", fmt.Errorf("write task-owned file %s of %d bytes: %w", u.file.Name, u.file.Size, err)
	}
	u.o.kept[u.file.Name] = u.file
	return u.file.Name, nil
}

// Keep has snapshots list a restored file, if it is one: the subtask has been given the
// state that refers to it.
func (o *Owned) Keep(name string) {
	if f := o.restored[name]; f != nil {
		o.kept[name] = f
	}
}

// Get reads a file that is kept. ErrNotOwned: it is gone.
func (o *Owned) Get(name string) ([]byte, error) {
	f := o.kept[name]
	if f == nil || o.s.o.OwnedStore == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotOwned, name)
	}
	b, err := o.s.o.OwnedStore.Get(o.s.o.Runtime.Context, f)
	if err != nil {
		return nil, fmt.Errorf("read task-owned file %s: %w", name, err)
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], f.Digest) {
		return nil, fmt.Errorf("task-owned file %s is damaged: %d bytes with digest %x, want %d with %x", name, len(b), sum, f.Size, f.Digest)
	}
	return b, nil
}

// Forget has later snapshots not list a file any more. It returns the names of those that
// are this job's to remove.
func (o *Owned) Forget(names ...string) (mine []string) {
	for _, name := range names {
		if f := o.kept[name]; f != nil && f.BasePath == "" {
			mine = append(mine, name)
		}
		delete(o.kept, name)
	}
	return mine
}

// Remove removes files that were forgotten. Whoever may still need them after a failure
// waits until a checkpoint without them has completed.
func (o *Owned) Remove(names ...string) error {
	if len(names) == 0 {
		return nil
	}
	if err := o.s.o.OwnedStore.Delete(o.s.o.Runtime.Context, names...); err != nil {
		return fmt.Errorf("remove %d task-owned files: %w", len(names), err)
	}
	return nil
}

// Sweep removes the operator's files of older incarnations that the snapshot does not
// list: of attempts that have died. One subtask does it.
func (o *Owned) Sweep() error {
	store, rt := o.s.o.OwnedStore, o.s.o.Runtime
	if store == nil {
		return nil
	}
	all, err := store.List(rt.Context, o.prefix())
	if err != nil {
		return fmt.Errorf("list task-owned files: %w", err)
	}
	var old []string
	for _, name := range all {
		var incarnation uint64
		_, err := fmt.Sscanf(strings.TrimPrefix(name, o.prefix()), "%d-", &incarnation)
		if err == nil && incarnation < rt.Incarnation && o.restored[name] == nil {
			old = append(old, name)
		}
	}
	if err := store.Delete(rt.Context, old...); err != nil {
		return fmt.Errorf("delete %d task-owned files of older attempts: %w", len(old), err)
	}
	return nil
}

// list is what a snapshot says.
func (o *Owned) list() (all []*metapb.OwnedFile) {
	for _, f := range o.kept {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *metapb.OwnedFile) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
