package operator

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
)

// namedResult is what a Setup asks of its results.
type namedResult interface {
	result() *metapb.Result
}

// Sum is a named result: a number that is added up over all subtasks of the job
// and stands in its result when it has finished. It wraps around at 2^64 and may
// thus serve as a checksum. It is state: exact over failures.
type Sum struct {
	name  string
	value uint64
}

// Add adds n.
func (r *Sum) Add(n uint64) { r.value += n }

// Value is the sum of this subtask.
func (r *Sum) Value() uint64 { return r.value }

func (r *Sum) result() *metapb.Result {
	return &metapb.Result{Name: r.name, Value: &metapb.Result_Sum{Sum: r.value}}
}

// Text is a named result that is a text, such as a quantile. It is state.
type Text struct {
	name  string
	value string
}

// Set replaces the text.
func (r *Text) Set(v string) { r.value = v }

// Value is the text of this subtask.
func (r *Text) Value() string { return r.value }

func (r *Text) result() *metapb.Result {
	return &metapb.Result{Name: r.name, Value: &metapb.Result_Text{Text: r.value}}
}

// What the plan says of results, so that a name that is a sum here and a text there is
// found before the job runs.
var (
	sumSchema  = codec.NewSchema("sum", 0, "uint64")
	textSchema = codec.NewSchema("text", 0, "string")
)

// Sum declares a named result that is a sum.
func (s *Setup) Sum(name string) *Sum {
	r := &Sum{name: name}
	if was, ok := s.declareResult(name, sumSchema, r); ok && was != nil {
		v, isSum := was.Value.(*metapb.Result_Sum)
		if !isSum {
			s.fail(fmt.Errorf("operator %q: result %q is a sum, in the snapshot it is a text", s.o.UID, name))
			return r
		}
		r.value = v.Sum
	}
	return r
}

// Text declares a named result that is a text.
func (s *Setup) Text(name string) *Text {
	r := &Text{name: name}
	if was, ok := s.declareResult(name, textSchema, r); ok && was != nil {
		v, isText := was.Value.(*metapb.Result_Text)
		if !isText {
			s.fail(fmt.Errorf("operator %q: result %q is a text, in the snapshot it is a sum", s.o.UID, name))
			return r
		}
		r.value = v.Text
	}
	return r
}

// takenResults stand beside the named results in the job's result or in its closing line.
var takenResults = []string{"ms", "rate", "duration-ms", "closing-line"}

// declareResult returns what the result starts from, nil if from nothing.
func (s *Setup) declareResult(name string, schema codec.Schema, r namedResult) (was *metapb.Result, ok bool) {
	if slices.Contains(takenResults, name) {
		s.fail(fmt.Errorf("operator %q: no result can be called %q: that is a name of the job's own result", s.o.UID, name))
		return nil, false
	}
	if !s.declare(&metapb.State{Name: name, Kind: metapb.StateKind_STATE_KIND_RESULT, ValueSchema: schema}) {
		return nil, false
	}
	s.results = append(s.results, r)
	for _, r := range s.o.Results {
		if r.Name == name {
			return r, true
		}
	}
	return nil, true
}

// Counter counts something for people to see while the job runs. It belongs to the
// operator's goroutine; a copy is published now and then.
type Counter struct {
	name      string
	n         uint64
	published atomic.Uint64
}

// Add adds n.
func (c *Counter) Add(n uint64) { c.n += n }

// Inc adds 1.
func (c *Counter) Inc() { c.n++ }

// Name is the counter's.
func (c *Counter) Name() string { return c.name }

// Publish makes the present value the one that Published returns. For the runtime.
func (c *Counter) Publish() { c.published.Store(c.n) }

// Published is the value as last published, from any goroutine.
func (c *Counter) Published() uint64 { return c.published.Load() }

// OperatorList is operator state: a list that belongs to the subtask, not to a key.
// At a restore its elements are dealt out anew.
type OperatorList[E any] struct {
	name  string
	kind  metapb.StateKind
	c     elementCodec[E]
	items []E
}

// elementCodec is what a list needs of a codec.
type elementCodec[E any] interface {
	Append(dst []byte, v E) []byte
	Decode(src []byte) (v E, n int, err error)
	Schema() codec.Schema
	From(writer codec.Schema) (codec.Mover, error)
}

// Get returns the elements: at first those restored, then what was set. The slice
// must not be changed.
func (l *OperatorList[E]) Get() []E { return l.items }

// Set replaces the elements. The list keeps the slice.
func (l *OperatorList[E]) Set(items []E) { l.items = items }

// Append adds elements.
func (l *OperatorList[E]) Append(items ...E) { l.items = append(l.items, items...) }

func (l *OperatorList[E]) snapshot() *metapb.OperatorState {
	st := &metapb.OperatorState{Name: l.name, Kind: l.kind, Schema: l.c.Schema()}
	for _, v := range l.items {
		st.Entries = append(st.Entries, l.c.Append(nil, v))
	}
	return st
}

// SplitList declares operator state whose elements are divided over the subtasks at
// a restore, each to exactly one.
func (s *Setup) SplitList[E any](name string) *OperatorList[E] {
	return listOf[E](s, name, metapb.StateKind_STATE_KIND_SPLIT_LIST)
}

// UnionList declares operator state of which every subtask gets all elements at a
// restore, its own and the others'. A subtask must then Set what it keeps itself,
// or the elements multiply with each restore.
func (s *Setup) UnionList[E any](name string) *OperatorList[E] {
	return listOf[E](s, name, metapb.StateKind_STATE_KIND_UNION_LIST)
}

// Splits declares what a source's readers or its enumerator keep: opaque bytes,
// divided over the subtasks. For the runtime.
func (s *Setup) Splits() *OperatorList[[]byte] {
	l := &OperatorList[[]byte]{name: splitsName, kind: metapb.StateKind_STATE_KIND_SPLIT_LIST, c: rawBytes{}}
	l.restore(s)
	return l
}

func listOf[E any](s *Setup, name string, kind metapb.StateKind) *OperatorList[E] {
	l := &OperatorList[E]{name: name, kind: kind}
	c, err := codec.In[E](s.o.Types)
	if err != nil {
		s.fail(fmt.Errorf("operator %q can't keep state %q: %w", s.o.UID, name, err))
		return l
	}
	l.c = c
	l.restore(s)
	return l
}

// restore declares l and fills it with what the subtask starts from.
func (l *OperatorList[E]) restore(s *Setup) {
	if !s.declare(&metapb.State{Name: l.name, Kind: l.kind, ValueSchema: l.c.Schema()}) {
		return
	}
	s.lists = append(s.lists, l)
	for _, st := range s.o.States {
		if st.Name != l.name {
			continue
		}
		if st.Kind != l.kind {
			s.fail(fmt.Errorf("operator %q: state %q is a %v in the snapshot, the program has a %v", s.o.UID, l.name, st.Kind, l.kind))
			return
		}
		if err := l.load(st); err != nil {
			s.fail(fmt.Errorf("operator %q: restore state %q: %w", s.o.UID, l.name, err))
			return
		}
	}
}

func (l *OperatorList[E]) load(st *metapb.OperatorState) error {
	var move codec.Mover
	if len(st.Schema) > 0 {
		var err error
		if move, err = l.c.From(st.Schema); err != nil {
			return fmt.Errorf("%w: %w", statebackend.ErrSchema, err)
		}
	}
	for i, b := range st.Entries {
		v, err := l.element(b, move)
		if err != nil {
			return fmt.Errorf("decode element %d of %d: %w: %w", i, len(st.Entries), statebackend.ErrCorrupt, err)
		}
		l.items = append(l.items, v)
	}
	return nil
}

// element decodes b, which move, if there is one, brings into the present layout.
func (l *OperatorList[E]) element(b []byte, move codec.Mover) (v E, err error) {
	whole := func(n int, err error) error {
		if err == nil && n != len(b) {
			return fmt.Errorf("element takes %d of %d bytes", n, len(b))
		}
		return err
	}
	if move != nil {
		moved, n, err := move(nil, b)
		if err := whole(n, err); err != nil {
			return v, err
		}
		b = moved
	}
	v, n, err := l.c.Decode(b)
	return v, whole(n, err)
}

// rawBytes keeps elements as they are. It has no schema: what is in them is the
// connector's own.
type rawBytes struct{}

func (rawBytes) Append(dst, v []byte) []byte { return append(dst, v...) }
func (rawBytes) Decode(src []byte) ([]byte, int, error) {
	return append([]byte(nil), src...), len(src), nil
}

func (rawBytes) Schema() codec.Schema                   { return nil }
func (rawBytes) From(codec.Schema) (codec.Mover, error) { return nil, nil }
