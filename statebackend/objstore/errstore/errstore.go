package errstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/weirstream/weir/statebackend/objstore"
)

// ErrInjected is in every error that a fault makes.
var ErrInjected = errors.New("injected fault")

// ErrFull is the error of a full disk: it is both ErrInjected and ENOSPC.
var ErrFull = fmt.Errorf("%w: %w", ErrInjected, syscall.ENOSPC)

// Op is an operation of a store.
type Op string

// The operations. Import counts as Create, then Commit: through a wrapped store a
// file is always copied, so that each step can fail.
const (
	Create Op = "create"
	Write  Op = "write"
	Commit Op = "commit"
	Open   Op = "open"
	Read   Op = "read"
	Delete Op = "delete"
	List   Op = "list"
)

// Kind says how an operation fails.
type Kind uint8

// The kinds of faults.
const (
	Fail     Kind = iota // it is not done and says so
	Applied              // it is done and says ErrUnknown (Commit, Delete)
	Lost                 // it is not done and says ErrUnknown (Commit, Delete)
	Full                 // the disk is full: ENOSPC; a Write has written half of its bytes
	Slow                 // it is done after Delay, or not if the context ends first
	Truncate             // a Read finds the object's end too early
	Flip                 // a Read returns one bit flipped
)

// Fault is one line of a script.
type Fault struct {
	Op    Op
	Match string        // path.Match pattern of the name; "" = all. A Delete of many names counts once for each
	Skip  int           // matching calls that go well first
	Times int           // matching calls that then fail; 0 = all
	Kind  Kind          // how
	Err   error         // instead of ErrInjected, for Fail; or nil
	Delay time.Duration // for Slow
}

// Rates are the probabilities (0 to 1) that a call has a fault, by kind.
type Rates map[Kind]float64

// Store is a wrapped store.
type Store struct {
	inner objstore.Store

	mu     sync.Mutex
	script []*scripted // guarded by mu
	rng    *rand.Rand  // guarded by mu; or nil
	rates  Rates
	events []string // guarded by mu
}

type scripted struct {
	Fault
	seen int
}

// New wraps inner with a script. Each fault counts the calls that match it; a call
// that one fault fails is not seen by those after it.
func New(inner objstore.Store, faults ...Fault) *Store {
	s := &Store{inner: inner}
	s.Add(faults...)
	return s
}

// Seeded wraps inner with random faults of the kinds that fit the operation.
func Seeded(inner objstore.Store, seed uint64, rates Rates) *Store {
	return &Store{inner: inner, rng: rand.New(rand.NewPCG(seed, 0)), rates: rates}
}

// Add appends faults to the script.
func (s *Store) Add(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Match != "" {
			if _, err := path.Match(f.Match, ""); err != nil {
				panic(fmt.Sprintf("weir: BUG: fault pattern %q: %v", f.Match, err))
			}
		}
		s.script = append(s.script, &scripted{Fault: f})
	}
}

// Heal ends all faults.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.rng = nil, nil
}

// Injected lists the faults so far, as "op name kind", so that a test can assert
// that it took its path.
func (s *Store) Injected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.events...)
}

var kindNames = [...]string{"fail", "applied", "lost", "full", "slow", "truncate", "flip"}

// String names the kind.
func (k Kind) String() string { return kindNames[k] }

// fits reports whether kind k makes sense for op.
func (k Kind) fits(op Op) bool {
	switch k {
	case Applied, Lost:
		return op == Commit || op == Delete
	case Full:
		return op == Create || op == Write || op == Commit
	case Truncate, Flip:
		return op == Read
	}
	return true
}

// next decides the fate of one call.
func (s *Store) next(op Op, name string) (f Fault, fault bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.script {
		if sc.Op != op {
			continue
		}
		if ok, _ := path.Match(sc.Match, name); sc.Match != "" && !ok {
			continue
		}
		sc.seen++
		if sc.seen <= sc.Skip || sc.Times > 0 && sc.seen > sc.Skip+sc.Times {
			continue
		}
		f, fault = sc.Fault, true
		break
	}
	if !fault && s.rng != nil {
		for k := range Kind(len(kindNames)) {
			// A number is drawn for each kind, fitting or not: the sequence of faults then
			// depends only on the sequence of calls.
			if s.rng.Float64() < s.rates[k] && k.fits(op) && !fault {
				f, fault = Fault{Kind: k, Delay: time.Duration(s.rng.Int64N(int64(time.Second)))}, true
			}
		}
	}
	if fault {
		s.events = append(s.events, fmt.Sprintf("%s %s %v", op, name, f.Kind))
	}
	return f, fault
}

// err is the error of a fault.
func (f Fault) err(op Op, name string) error {
	cause := ErrInjected
	switch {
	case f.Kind == Full:
		cause = ErrFull
	case f.Err != nil:
		cause = fmt.Errorf("%w: %w", ErrInjected, f.Err)
	}
	if f.Kind == Applied || f.Kind == Lost {
		return fmt.Errorf("%s object %s: %w: %w", op, name, objstore.ErrUnknown, cause)
	}
	return fmt.Errorf("%s object %s: %w", op, name, cause)
}

// do runs f under the fate of (op, name).
func (s *Store) do(ctx context.Context, op Op, name string, f func() error) error {
	fault, ok := s.next(op, name)
	if !ok {
		return f()
	}
	switch fault.Kind {
	case Applied:
		if err := f(); err != nil {
			return err
		}
		return fault.err(op, name)
	case Slow:
		t := time.NewTimer(fault.Delay)
		defer t.Stop()
		select {
		case <-t.C:
			return f()
		case <-ctx.Done():
			return fmt.Errorf("%s object %s: %w: %w", op, name, ErrInjected, context.Cause(ctx))
		}
	}
	return fault.err(op, name)
}

// URL implements objstore.Store.
func (s *Store) URL() string { return s.inner.URL() }

// Create implements objstore.Store.
func (s *Store) Create(ctx context.Context, name string) (w objstore.Writer, err error) {
	err = s.do(ctx, Create, name, func() (err error) {
		w, err = s.inner.Create(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx, name: name, w: w}, nil
}

// Open implements objstore.Store.
func (s *Store) Open(ctx context.Context, name string) (r objstore.Reader, err error) {
	err = s.do(ctx, Open, name, func() (err error) {
		r, err = s.inner.Open(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &reader{Reader: r, s: s, ctx: ctx, name: name}, nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, names ...string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, s.do(ctx, Delete, name, func() error { return s.inner.Delete(ctx, name) }))
	}
	return errors.Join(errs...)
}

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		if err := s.do(ctx, List, prefix, func() error { return nil }); err != nil {
			yield(objstore.Info{}, err)
			return
		}
		s.inner.List(ctx, prefix)(yield)
	}
}

type writer struct {
	s    *Store
	ctx  context.Context // of Create: io.Writer has none
	name string
	w    objstore.Writer
	err  error // of a failed Write: the object can't be committed
}

func (w *writer) Write(p []byte) (n int, err error) {
	f, fault := w.s.next(Write, w.name)
	if !fault || f.Kind == Slow {
		if fault {
			t := time.NewTimer(f.Delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-w.ctx.Done():
				w.err = fmt.Errorf("write object %s: %w: %w", w.name, ErrInjected, context.Cause(w.ctx))
				return 0, w.err
			}
		}
		return w.w.Write(p)
	}
	if f.Kind == Full {
		n, _ = w.w.Write(p[:len(p)/2])
	}
	w.err = f.err(Write, w.name)
	return n, w.err
}

func (w *writer) Commit(ctx context.Context) error {
	if w.err != nil {
		return errors.Join(w.err, w.w.Abort())
	}
	return w.s.do(ctx, Commit, w.name, func() error { return w.w.Commit(ctx) })
}

func (w *writer) Abort() error { return w.w.Abort() }

type reader struct {
	objstore.Reader
	s    *Store
	ctx  context.Context // of Open: io.ReaderAt has none
	name string
}

func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	f, fault := r.s.next(Read, r.name)
	if !fault {
		return r.Reader.ReadAt(p, off)
	}
	switch f.Kind {
	case Slow:
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
			return r.Reader.ReadAt(p, off)
		case <-r.ctx.Done():
			return 0, fmt.Errorf("read object %s: %w: %w", r.name, ErrInjected, context.Cause(r.ctx))
		}
	case Truncate:
		n, _ = r.Reader.ReadAt(p[:len(p)/2], off)
		return n, io.EOF
	case Flip:
		n, err = r.Reader.ReadAt(p, off)
		if n > 0 {
			p[n/2] ^= 0x10
		}
		return n, err
	}
	return 0, f.err(Read, r.name)
}
