package savepoint

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/run"
)

// Problem is something wrong with one file of a snapshot.
type Problem struct {
	Operator string // uid
	Subtask  int
	Run      string
	File     string // object name, "inline", or "" if it isn't about one file
	Err      error
}

// Error says it in one line.
func (p *Problem) Error() string {
	at := fmt.Sprintf("operator %q, subtask %d, run %s", p.Operator, p.Subtask, p.Run)
	if p.File != "" {
		at += ", file " + p.File
	}
	return at + ": " + p.Err.Error()
}

// Unwrap makes errors.Is(err, ErrDamaged) true of what is missing or not what was
// written; other errors are of the disk.
func (p *Problem) Unwrap() []error {
	if errors.Is(p.Err, run.ErrCorrupt) || errors.Is(p.Err, objstore.ErrNotFound) {
		return []error{ErrDamaged, p.Err}
	}
	if errors.Is(p.Err, run.ErrFormat) {
		return []error{ErrNewer, p.Err}
	}
	return []error{p.Err}
}

// Verified is what Verify has found.
type Verified struct {
	Files    int // run files that were read, each once; an inline run counts as one
	Bytes    int64
	Problems []*Problem // in the order of operators and subtasks
}

// Err joins the problems; nil: the snapshot is intact.
func (v Verified) Err() error {
	errs := make([]error, len(v.Problems))
	for i, p := range v.Problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// Verify reads every byte of the snapshot at path and compares size, digests and the
// identity of each file with what its _metadata says. The error says that it could not
// be read at all; what is wrong with single files stands in Problems.
func Verify(ctx context.Context, path string) (Verified, error) {
	s, err := Open(ctx, path)
	if err != nil {
		return Verified{}, err
	}
	v, err := s.Verify(ctx)
	return v, errors.Join(err, s.Close())
}

// check is one run to be verified.
type check struct {
	problem Problem
	run     *metapb.Run
}

// Verify is Verify of an open snapshot.
func (s *Snapshot) Verify(ctx context.Context) (Verified, error) {
	checks := s.checks()
	found := make([][]*Problem, len(checks))
	err := parallel(ctx, len(checks), func(i int) error {
		found[i] = s.verifyRun(ctx, checks[i])
		return context.Cause(ctx)
	})
	var v Verified
	for i, c := range checks {
		v.Files += max(1, len(c.run.Files))
		v.Bytes += int64(c.run.Bytes)
		v.Problems = append(v.Problems, found[i]...)
	}
	for _, p := range channelParts(s.meta) {
		if p.c.File != "" {
			v.Files++
			v.Bytes += int64(p.c.Size)
		}
		if p.at.Err = p.verify(ctx, s.opener(&metapb.Run{})); p.at.Err != nil {
			v.Problems = append(v.Problems, &p.at)
		}
	}
	for _, p := range ownedParts(s.meta, s.meta.SelfContained) {
		there, bad := p.verify(ctx, s.opener(&metapb.Run{BasePath: p.f.BasePath}))
		if there {
			v.Files++
			v.Bytes += int64(p.f.Size)
		}
		if p.at.Err = bad; bad != nil {
			v.Problems = append(v.Problems, &p.at)
		}
	}
	if err != nil {
		return Verified{}, fmt.Errorf("verify snapshot %s: %w", s.folder, err)
	}
	return v, nil
}

// checks are the runs of the snapshot, each once, in order.
func (s *Snapshot) checks() []check {
	var all []check
	seen := map[string]*metapb.Run{}
	for _, op := range s.meta.Operators {
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				at := r.BasePath + "\x00" + r.Id
				if first := seen[at]; first != nil && sameFiles(first, r) {
					continue
				}
				seen[at] = r
				all = append(all, check{problem: Problem{Operator: op.Uid, Subtask: int(sub.Index), Run: r.Id}, run: r})
			}
		}
	}
	return all
}

// sameFiles reports whether two listings of a run differ in their clips only.
func sameFiles(a, b *metapb.Run) bool {
	if len(a.Files) != len(b.Files) || string(a.InlineDigest) != string(b.InlineDigest) {
		return false
	}
	for i := range a.Files {
		if a.Files[i].Name != b.Files[i].Name || a.Files[i].Offset != b.Files[i].Offset || string(a.Files[i].Digest) != string(b.Files[i].Digest) {
			return false
		}
	}
	return true
}

func (s *Snapshot) verifyRun(ctx context.Context, c check) (problems []*Problem) {
	problem := func(file string, err error) {
		p := c.problem
		p.File, p.Err = file, err
		problems = append(problems, &p)
	}
	list, err := run.FromProto([]*metapb.Run{c.run})
	if err != nil {
		problem("", err)
		return problems
	}
	r := list[0]
	if r.Inline != nil {
		if err := r.Verify(ctx, nil); err != nil {
			problem("inline", err)
		} else if err := r.Check(ctx, nil); err != nil {
			problem("inline", err)
		}
		return problems
	}
	for i := range r.Files {
		one := r
		one.Files = r.Files[i : i+1]
		err := one.Verify(ctx, s.opener(c.run))
		if err == nil {
			err = r.CheckFile(ctx, i, s.opener(c.run))
		}
		if err != nil {
			problem(r.Files[i].Name, err)
		}
	}
	return problems
}

// parallel calls f for 0 … n−1 from several goroutines and returns the first error,
// after which it begins no other call.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = context.Cause(ctx)
		}
		if first != nil || next == n {
			return -1
		}
		next++
		return next - 1
	}
	for range min(n, max(2, runtime.GOMAXPROCS(0))) {
		wg.Go(func() {
			for i := take(); i >= 0; i = take() {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
