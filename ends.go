package weir

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

// enumeratorSuffix makes the uid of a source's hidden enumerator; "#" is not
// allowed in uids of users.
const enumeratorSuffix = "#splits"

// declareSource declares a source, and before it the enumerator if it has one.
func declareSource[T any](e *Env, id identity, src operator.Source[T], o options) *Stream[T] {
	if err := notNil(src); err != nil {
		e.fail(fmt.Errorf("%v: %w", id, err))
		return e.streamOf[T](e.declare(declaration{identity: id, opts: o}))
	}
	uid := id.uid
	src = standIn(e, id, src, metapb.OperatorKind_OPERATOR_KIND_SOURCE)
	splits := operator.PlanSetup(uid, operator.KeyInfo{})
	splits.Splits()
	d := declaration{identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE, opts: o, states: splits.Declared()}
	en, err := src.NewEnumerator(planContext(uid))
	if err != nil {
		e.fail(fmt.Errorf("source %q: make its enumerator: %w", uid, err))
	}
	if en != nil {
		from := e.declare(declaration{
			identity: identity{uid + enumeratorSuffix, id.auto, "splits"},
			kind:     metapb.OperatorKind_OPERATOR_KIND_ENUMERATOR, hidden: true, states: splits.Declared(),
			opts: options{name: "splits of " + uid, parallelism: 1},
			link: func(l *task.Linker) error {
				en, err := src.NewEnumerator(&operator.SourceContext{Runtime: l.Runtime(), UID: uid, Restored: l.Restored()})
				if err != nil {
					return fmt.Errorf("make the enumerator of source %q: %w", uid, err)
				}
				return task.FromEnumerator(l, en)
			},
		})
		d.inputs = []input{{
			upstream:   upstream{from: from, dist: metapb.Distribution_DISTRIBUTION_DIRECT},
			recordType: reflect.TypeFor[operator.Assignment](),
			edge: func() (exchange.AnyEdge, []byte, error) {
				return edgeOf(e, &exchange.Edge[operator.Assignment]{Target: func(a operator.Assignment) int { return a.Reader }})
			},
		}}
	}
	d.link = func(l *task.Linker) error { return task.FromReader(l, src) }
	return e.streamOf[T](e.declare(d))
}

// planContext is what NewEnumerator is called with at plan time; the enumerator is
// thrown away unstarted.
func planContext(uid string) *operator.SourceContext {
	return &operator.SourceContext{UID: uid, Runtime: &operator.Runtime{
		Context: context.Background(), Log: slog.New(slog.DiscardHandler), Now: time.Now, Parallelism: 1,
	}}
}

// declareSink declares the end of a stream.
func declareSink[T any](s *Stream[T], id identity, sink operator.Sink[T], o options) {
	e := s.env
	if err := notNil(sink); err != nil {
		e.fail(fmt.Errorf("%v: %w", id, err))
		return
	}
	sink = standIn(e, id, sink, metapb.OperatorKind_OPERATOR_KIND_SINK)
	planned := planStates(e, id, operator.KeyInfo{}, sink.NewWriter,
		func(_ *Setup, w operator.Writer[T]) error { return checkWriterHooks(w) })
	e.declare(declaration{
		identity: id, kind: metapb.OperatorKind_OPERATOR_KIND_SINK, opts: o, inputs: s.inputs(), planned: planned,
		link: func(l *task.Linker) error {
			w, err := sink.NewWriter(l.Setup(operator.KeyInfo{}))
			if err != nil {
				return fmt.Errorf("make writer of sink %q: %w", l.UID(), err)
			}
			task.In(l, &writer[T]{runs: runsIn(l), w: w})
			l.Lifecycle(w)
			return nil
		},
	})
}

// printSink is Print.
type printSink[T any] struct{}

// NewWriter implements Sink.
func (printSink[T]) NewWriter(s *Setup) (Writer[T], error) {
	w := &printWriter[T]{}
	if s.Parallelism() > 1 {
		w.prefix = fmt.Sprintf("%d> ", s.Subtask()+1)
	}
	return w, nil
}

type printWriter[T any] struct {
	prefix string
	line   []byte
}

// Write writes a line in one piece, so that those of several subtasks don't mix.
func (w *printWriter[T]) Write(v T) error {
	w.line = append(w.line[:0], w.prefix...)
	w.line = fmt.Append(w.line, v)
	w.line = append(w.line, '\n')
	_, err := os.Stdout.Write(w.line)
	return err
}
