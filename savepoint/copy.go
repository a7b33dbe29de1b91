package savepoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
	"github.com/weirstream/weir/stream"
)

const (
	// attempt is noted in runs that no attempt of a job wrote.
	attempt = "savepoint"
	// tempFolder begins the names of folders that runs are merged in.
	tempFolder = ".tmp-merge-"
	// readBlock is the block size of merged runs: a cold tier reads single keys from them.
	readBlock = 8 << 10
	// inlineTotal and inlineMost bound inline runs, as architecture §6 does for acks.
	inlineTotal, inlineMost = 8 << 20, 20 << 10
)

// Copy makes a self-contained savepoint in the folder to, which is created, of the
// snapshot at from, and says what it is. Canonical (also unspecified): the runs of each
// subtask are merged into one. Native: they are copied as they are. Every byte that is
// read is verified.
//
// The source must stay until Copy has returned; it is not changed. Copy may be called
// again with the same from and to: after a crash it goes on with what is there, after
// success it changes nothing. ErrTarget: the folder has something else in it. After an
// error other than the context's nothing of the copy is left.
func Copy(ctx context.Context, from, to string, kind metapb.SnapshotType, opts ...CopyOption) (Description, error) {
	s, err := Open(ctx, from)
	if err != nil {
		return Description{}, err
	}
	d, err := s.Copy(ctx, to, kind, opts...)
	return d, errors.Join(err, s.Close())
}

// Copy is Copy of an open snapshot.
func (s *Snapshot) Copy(ctx context.Context, to string, kind metapb.SnapshotType, opts ...CopyOption) (Description, error) {
	for _, o := range opts {
		o.apply(s)
	}
	t, err := openTarget(ctx, to)
	if err != nil {
		return Description{}, err
	}
	defer t.close()
	if t.store.Path() == s.folder || t.store.Path() == s.Base() {
		return Description{}, fmt.Errorf("copy snapshot %s: %w: it is the source", s.folder, ErrTarget)
	}
	c := &copier{s: s, t: t}
	if err := c.copy(ctx, kind); err != nil {
		err = fmt.Errorf("copy snapshot %s to %s: %w", s.folder, t.store.Path(), err)
		if context.Cause(ctx) == nil {
			err = errors.Join(err, t.undo())
		}
		return Description{}, err
	}
	s.read.finish()
	return t.describe(ctx)
}

// copier copies one snapshot.
type copier struct {
	s      *Snapshot
	t      *target
	inline int // bytes of the largest inline run that is written
}

func (c *copier) copy(ctx context.Context, kind metapb.SnapshotType) error {
	m := proto.CloneOf(c.s.meta)
	m.SelfContained, m.StillReads = true, nil
	m.Type = metapb.SnapshotType_SNAPSHOT_TYPE_CANONICAL
	if kind == metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE {
		m.Type = kind
	}
	if done, err := c.t.holds(ctx, m); done || err != nil {
		return err
	}
	copying := c.mergeAll
	if m.Type == metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE {
		copying = c.takeAll
	}
	if err := copying(ctx, m); err != nil {
		return err
	}
	if err := errors.Join(c.takeChannels(ctx, m), c.takeOwned(ctx, m)); err != nil {
		return err
	}
	return c.t.finish(ctx, m)
}

// mergeAll makes the runs of each subtask one.
func (c *copier) mergeAll(ctx context.Context, m *metapb.CheckpointMetadata) error {
	type part struct {
		op  *metapb.OperatorSnapshot
		sub *metapb.SubtaskSnapshot
	}
	var parts []part
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			if len(sub.Runs) > 0 {
				parts = append(parts, part{op, sub})
			}
		}
	}
	c.inline = min(inlineMost, inlineTotal/max(1, len(parts)))
	return parallel(ctx, len(parts), gentle(func(i int) error {
		p := parts[i]
		if err := c.merge(ctx, p.op.Uid, p.sub); err != nil {
			return fmt.Errorf("operator %q, subtask %d: %w", p.op.Uid, p.sub.Index, err)
		}
		return nil
	}))
}

// merge makes the runs of a subtask one.
func (c *copier) merge(ctx context.Context, uid string, sub *metapb.SubtaskSnapshot) error {
	entries, err := c.s.entries(ctx, sub)
	if err != nil {
		return err
	}
	r, err := c.t.write(ctx, runID(c.s.meta, uid, sub.Index), c.inline, tableOf(sub.Schemas), func(w *run.Writer) error {
		return run.Copy(ctx, w, declared(entries, sub))
	})
	if err := errors.Join(err, entries.Close()); err != nil {
		return err
	}
	sub.Runs = nil
	if r != nil {
		sub.Runs = []*metapb.Run{r}
	}
	return nil
}

// only are the entries of some states.
type only struct {
	run.Source
	states map[uint32]bool
}

// declared leaves out entries of states that the program no longer had: nobody can read
// them, because no schema of theirs is listed.
func declared(s run.Source, sub *metapb.SubtaskSnapshot) only {
	states := map[uint32]bool{}
	for _, c := range sub.Schemas {
		states[c.StateId] = true
	}
	return only{s, states}
}

// Next implements run.Source.
func (o only) Next() (run.Entry, bool) {
	for {
		e, ok := o.Source.Next()
		if !ok || o.states[binary.BigEndian.Uint32(e.Key[2:])] {
			return e, ok
		}
	}
}

// runID names the merged run of a subtask: unique among all that may ever stand in one
// list, and the same if the copy is made again.
func runID(m *metapb.CheckpointMetadata, uid string, subtask uint32) string {
	job := codec.HashBytes([]byte(m.ClusterId + "\x00" + m.JobId))
	return fmt.Sprintf("s%016x-%d-%016x-%d", job, m.CheckpointId, codec.HashBytes([]byte(uid)), subtask)
}

// tableOf is the schema table of a run whose values have the ordinals of schemas: those
// from 1, in their order.
func tableOf(schemas []*metapb.Schema) []run.Schema {
	var table []run.Schema
	for n := uint32(1); ; n++ {
		i := slices.IndexFunc(schemas, func(c *metapb.Schema) bool { return c.Ordinal == n })
		if i < 0 {
			return table
		}
		table = append(table, run.Schema{State: statebackend.StateID(schemas[i].StateId), Bytes: schemas[i].Schema})
	}
}

// entries merges what counts of a subtask's runs: each key that has a value, once.
func (s *Snapshot) entries(ctx context.Context, sub *metapb.SubtaskSnapshot) (*run.Merged, error) {
	return s.entriesIn(ctx, sub, stream.KeyGroupRange{First: stream.KeyGroup(sub.FirstGroup), Last: stream.KeyGroup(sub.LastGroup)})
}

func (s *Snapshot) entriesIn(ctx context.Context, sub *metapb.SubtaskSnapshot, groups stream.KeyGroupRange) (*run.Merged, error) {
	list, err := listOf(sub)
	if err != nil {
		return nil, err
	}
	sources := make([]run.Source, len(list))
	for i, r := range list {
		sources[i] = run.NewIter(ctx, r, s.opener(sub.Runs[i]), groups)
	}
	return run.Merge(sources, true), nil
}

func listOf(sub *metapb.SubtaskSnapshot) (run.List, error) {
	list, err := run.FromProto(sub.Runs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return list, nil
}

// part is a file of a run, to be copied under a name of the target.
type part struct {
	at   Problem // where it is listed first
	run  run.Run
	n    int // file of the run
	open run.Opener
	name string
}

// takeAll copies the files of all runs as they are, each once.
func (c *copier) takeAll(ctx context.Context, m *metapb.CheckpointMetadata) error {
	parts, err := c.parts(m)
	if err != nil {
		return err
	}
	return parallel(ctx, len(parts), gentle(func(i int) error {
		p := parts[i]
		if p.at.Err = c.t.take(ctx, p); p.at.Err != nil {
			return &p.at
		}
		return nil
	}))
}

// parts are the files that m, which becomes that of the copy, lists. Its names are made
// those of the target: two jobs' files may have the same.
func (c *copier) parts(m *metapb.CheckpointMetadata) (parts []part, err error) {
	type source struct {
		base, name string
		offset     uint64 // in a pack
	}
	names, taken := map[source]string{}, map[string]bool{}
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			list, err := listOf(sub)
			if err != nil {
				return nil, fmt.Errorf("operator %q, subtask %d: %w", op.Uid, sub.Index, err)
			}
			for i, r := range sub.Runs {
				at := Problem{Operator: op.Uid, Subtask: int(sub.Index), Run: r.Id}
				if list[i].Inline != nil {
					if at.Err = list[i].Verify(context.Background(), nil); at.Err != nil {
						return nil, &at
					}
				}
				open := c.s.opener(r) // before BasePath goes
				for n, f := range list[i].Files {
					from := source{r.BasePath, f.Name, r.Files[n].Offset}
					name := names[from]
					if name == "" {
						for name = fileName(r.Id, n, f); taken[name]; name = "x" + name {
						}
						names[from], taken[name] = name, true
						at.File = f.Name
						parts = append(parts, part{at, list[i], n, open, name})
					}
					r.Files[n].Name, r.Files[n].Offset, r.Files[n].PackSize = name, 0, 0
				}
				r.BasePath = ""
			}
		}
	}
	return parts, nil
}

// fileName is the name of file n of a run in the copy. What lay in a pack with files of
// others gets a file of its own: so the copy has nothing that it does not list.
func fileName(id string, n int, f run.File) string {
	if f.PackSize > 0 {
		return run.FileName(id, n)
	}
	return f.Base()
}

// target is a folder that a snapshot is written into.
type target struct {
	store *objstore.FS
	fresh bool // the folder was made for it

	mu   sync.Mutex
	made map[string]bool // guarded by mu: objects that are written or being written
}

// openTarget opens the folder at uri, which is created, and refuses one that holds
// anything but what a copy leaves.
func openTarget(ctx context.Context, uri string) (*target, error) {
	local, err := objstore.LocalPath(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	_, serr := os.Stat(local)
	store, err := objstore.OpenFS(local)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	for info, err := range store.List(ctx, "") {
		if err == nil && !isOurs(info.Name) {
			err = fmt.Errorf("%w: %s holds %s", ErrTarget, local, info.Name)
		}
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	return &target{store: store, fresh: serr != nil, made: map[string]bool{}}, nil
}

func (t *target) close() { t.store.Close() }

// note remembers an object that is being written.
func (t *target) note(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made[name] = true
}

// holds reports whether the folder holds the snapshot that m becomes. Another one's is
// an error.
func (t *target) holds(ctx context.Context, m *metapb.CheckpointMetadata) (bool, error) {
	file, err := objstore.Get(ctx, t.store, metadata.FileName, metadata.MaxSize)
	if errors.Is(err, objstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	is, err := decode(file)
	if err != nil || !is.SelfContained || is.ClusterId != m.ClusterId || is.JobId != m.JobId || is.CheckpointId != m.CheckpointId || is.Type != m.Type {
		return false, errors.Join(fmt.Errorf("%w: it holds another snapshot", ErrTarget), err)
	}
	return true, nil
}

// empty refuses a folder with a snapshot in it.
func (t *target) empty(ctx context.Context) error {
	r, err := t.store.Open(ctx, metadata.FileName)
	if errors.Is(err, objstore.ErrNotFound) {
		return nil
	}
	if err == nil {
		r.Close()
		err = fmt.Errorf("%w: %s holds a snapshot", ErrTarget, t.store.Path())
	}
	return err
}

// take copies a file of a run, verified on the way.
func (t *target) take(ctx context.Context, p part) error {
	t.note(p.name)
	if err := p.run.CheckFile(ctx, p.n, p.open); err != nil {
		return err
	}
	out, err := t.store.Create(ctx, p.name)
	if err == nil {
		defer out.Abort()
		if err := p.run.CopyFile(ctx, p.n, p.open, out); err != nil {
			return err
		}
		err = out.Commit(ctx)
	}
	return t.settle(ctx, err, p.run, p.n, p.name)
}

// settle decides whether err of writing an object means that it isn't there: one that is
// there already, or whose result is unknown, is read back (I4).
func (t *target) settle(ctx context.Context, err error, r run.Run, n int, name string) error {
	if !errors.Is(err, objstore.ErrExists) && !errors.Is(err, objstore.ErrUnknown) {
		return err
	}
	one := r.Moved(n, name)
	one.Files = one.Files[n : n+1]
	if verr := one.Verify(ctx, t.store.Open); verr != nil {
		return fmt.Errorf("%w; what is there: %w", err, verr)
	}
	return nil
}

// write makes a run of what fill adds; nil if that is nothing.
func (t *target) write(ctx context.Context, id string, inline int, schemas []run.Schema, fill func(*run.Writer) error) (r *metapb.Run, err error) {
	dir, err := os.MkdirTemp(t.store.Path(), tempFolder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := run.NewWriter(run.Options{ID: id, Dir: dir, BlockSize: readBlock, InlineLimit: inline, Attempt: attempt, Schemas: schemas})
	if err != nil {
		return nil, err
	}
	if err := fill(w); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	made, err := w.Finish()
	if err != nil || made.Empty() {
		return nil, err
	}
	for n, f := range made.Files {
		t.note(f.Name)
		err := objstore.Import(ctx, t.store, filepath.Join(dir, f.Base()), f.Name)
		if err := t.settle(ctx, err, made, n, f.Name); err != nil {
			return nil, err
		}
	}
	return made.Proto(), nil
}

// finish writes the _metadata, which makes the folder a snapshot, and removes what
// earlier tries that died have left.
func (t *target) finish(ctx context.Context, m *metapb.CheckpointMetadata) error {
	left, err := filepath.Glob(filepath.Join(globEscape(t.store.Path()), tempFolder+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return err
	}
	file, err := metadata.Encode(m)
	if err != nil {
		return err
	}
	err = objstore.Put(ctx, t.store, metadata.FileName, bytes.NewReader(file))
	if errors.Is(err, objstore.ErrExists) || errors.Is(err, objstore.ErrUnknown) {
		is, gerr := objstore.Get(ctx, t.store, metadata.FileName, metadata.MaxSize)
		switch {
		case gerr != nil:
			return errors.Join(err, gerr)
		case !bytes.Equal(is, file):
			return fmt.Errorf("%w: it holds another snapshot", ErrTarget)
		}
		err = nil
	}
	return err
}

// undo removes what was written, best effort: there is no _metadata, so that nobody
// takes what is left for a snapshot.
func (t *target) undo() error {
	ctx := context.Background()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := objstore.Get(ctx, t.store, metadata.FileName, metadata.MaxSize); !errors.Is(err, objstore.ErrNotFound) {
		return nil // somebody's snapshot, which may list these files
	}
	var names []string
	for name := range t.made {
		names = append(names, name)
	}
	err := t.store.Delete(ctx, names...)
	if err == nil && t.fresh {
		_ = os.Remove(t.store.Path()) // it isn't empty if somebody else writes there
	}
	return err
}

func (t *target) describe(ctx context.Context) (Description, error) {
	return Describe(ctx, t.store.Path())
}

// copyBytes is io.Copy that ends with its context.
func copyBytes(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
