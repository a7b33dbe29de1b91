package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
)

// KeyInfo says what the keys of an operator are; KeyInfoOf makes it.
type KeyInfo struct {
	Keyed  bool
	Width  int                         // bytes of an encoded key that is kept as a word, 1..8; 0 = keys are bytes
	Schema []byte                      // codec.Schema of the key
	Len    func(b []byte) (int, error) // length of the encoded key at the head of b; needed if Width is 0
}

// KeyInfoOf describes keys of K.
func KeyInfoOf[K any](c codec.Key[K]) KeyInfo {
	return KeyInfo{Keyed: true, Width: c.WordWidth(), Schema: c.Schema(), Len: table.KeyLenOf(c)}
}

// Names of states that the runtime declares; those of users never begin so.
const (
	reservedPrefix = "weir."
	timersName     = "weir.timers"
	eventTimers    = "weir.event-timers"
	splitsName     = "weir.splits"
	requestsName   = "weir.requests"
)

// maxStateName bounds the names of states, results and counters, in bytes.
const maxStateName = 100

// Setup declares what one operator keeps: state, named results, counters. Its
// factory is given one, when the job is planned and again in every subtask; both
// times it must declare the same. Mistakes are kept (Err); the handle returned then
// does nothing.
//
// At plan time there is no state: a keyed handle that is used then panics.
type Setup struct {
	o        SetupOptions
	planning bool

	declared []*metapb.State
	lists    []operatorState
	results  []namedResult
	counters []*Counter
	sides    []Side
	// broadcasting: a record that every subtask gets is being processed.
	broadcasting bool
	timers       *table.Timers // of processing time
	events       *table.Timers // of event time
	owned        *Owned
	cursor       interface{ describe() string } // of a keyed operator, once it is linked
	err          error

	// Of windows; see panes.go.
	perWindow []func(id int64)
	windowID  int64
	merging   bool
}

// SetupOptions are what a running operator's declarations are bound to.
type SetupOptions struct {
	UID     string
	Key     KeyInfo
	Types   *codec.Types // those that the program has named, or nil
	Runtime *Runtime
	Store   *table.Store // of a keyed operator, else nil
	// Declared is what the operator declared when the job was planned.
	Declared []*metapb.State
	// StateID returns the id allocated for a state of this operator, 0 if there is none.
	StateID func(name string) statebackend.StateID
	// States and Results are what the operator's subtask starts from.
	States  []*metapb.OperatorState
	Results []*metapb.Result
	// Owned are the task-owned files of the snapshot's subtasks; OwnedStore is where those
	// written from now on go, nil if nowhere.
	Owned      []*metapb.OwnedFile
	OwnedStore OwnedStore
}

// operatorState is what a Setup asks of its lists.
type operatorState interface {
	snapshot() *metapb.OperatorState
}

// PlanSetup returns a Setup that only collects declarations.
func PlanSetup(uid string, k KeyInfo) *Setup { return PlanSetupIn(uid, k, nil) }

// PlanSetupIn is PlanSetup in a program that has named types.
func PlanSetupIn(uid string, k KeyInfo, types *codec.Types) *Setup {
	rt := &Runtime{
		Context: context.Background(), Log: slog.New(slog.DiscardHandler), Now: time.Now, Parallelism: 1,
	}
	return &Setup{o: SetupOptions{UID: uid, Key: k, Types: types, Runtime: rt}, planning: true}
}

// NewSetup returns the Setup of an operator in a subtask.
func NewSetup(o SetupOptions) *Setup { return &Setup{o: o} }

// Declared lists the states and results declared so far, by name.
func (s *Setup) Declared() []*metapb.State {
	all := slices.Clone(s.declared)
	slices.SortFunc(all, func(a, b *metapb.State) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Err is the first mistake made in the declarations.
func (s *Setup) Err() error { return s.err }

// UID is the operator's.
func (s *Setup) UID() string { return s.o.UID }

// Runtime is what the operator shares with its subtask's loop.
func (s *Setup) Runtime() *Runtime { return s.o.Runtime }

// Types are those that the program has named, or nil: for connectors that encode records
// themselves.
func (s *Setup) Types() *codec.Types { return s.o.Types }

// Log is the job's log; its lines carry job, uid and subtask.
func (s *Setup) Log() *slog.Logger { return s.o.Runtime.Log }

// Subtask is the number of this instance of the operator, 0 … Parallelism−1.
func (s *Setup) Subtask() int { return s.o.Runtime.Subtask }

// Parallelism is the number of subtasks; 1 at plan time.
func (s *Setup) Parallelism() int { return s.o.Runtime.Parallelism }

// Restored reports whether the subtask starts from a snapshot.
func (s *Setup) Restored() bool { return s.o.Runtime.Restored }

// Value declares keyed state of one value for each key.
func (s *Setup) Value[V any](name string) *table.Value[V] {
	c, err := codec.In[V](s.o.Types)
	d := statebackend.Descriptor{Name: name, Kind: metapb.StateKind_STATE_KIND_VALUE}
	if err == nil {
		d.ValueSchema = c.Schema()
	}
	if s.bind(&d, err) {
		v, err := table.NewValue(s.o.Store, d, c)
		if err == nil {
			return v
		}
		s.fail(err)
	}
	return table.UnboundValue[V](d)
}

// List declares keyed state of a list for each key.
func (s *Setup) List[E any](name string) *table.List[E] {
	c, err := codec.In[E](s.o.Types)
	d := statebackend.Descriptor{Name: name, Kind: metapb.StateKind_STATE_KIND_LIST}
	if err == nil {
		d.ValueSchema = c.Schema()
	}
	if s.bind(&d, err) {
		l, err := table.NewList(s.o.Store, d, c)
		if err == nil {
			return l
		}
		s.fail(err)
	}
	return table.UnboundList[E](d)
}

// Map declares keyed state of a map for each key.
func (s *Setup) Map[K comparable, V any](name string) *table.Map[K, V] {
	d := statebackend.Descriptor{Name: name, Kind: metapb.StateKind_STATE_KIND_MAP}
	kc, kerr := codec.ForKey[K]()
	vc, verr := codec.In[V](s.o.Types)
	err := errors.Join(kerr, verr)
	if err == nil {
		d.NamespaceSchema, d.ValueSchema = kc.Schema(), vc.Schema()
	}
	if s.bind(&d, err) {
		m, err := table.NewMap(s.o.Store, d, kc, vc)
		if err == nil {
			return m
		}
		s.fail(err)
	}
	return table.UnboundMap[K, V](d)
}

// Timers declares the processing-time timers of an operator that has a timer callback.
// For the runtime: users set timers through their Ctx.
func (s *Setup) Timers() *table.Timers { return s.declareTimers(&s.timers, timersName) }

// EventTimers is Timers for those of event time.
func (s *Setup) EventTimers() *table.Timers { return s.declareTimers(&s.events, eventTimers) }

func (s *Setup) declareTimers(at **table.Timers, name string) *table.Timers {
	if *at != nil {
		return *at
	}
	d := statebackend.Descriptor{Name: name, Kind: metapb.StateKind_STATE_KIND_TIMER}
	*at = table.UnboundTimers(d)
	if s.bind(&d, nil) {
		t, err := table.NewTimers(s.o.Store, d)
		if err != nil {
			s.fail(err)
			return *at
		}
		*at = t
	}
	return *at
}

// bind declares a keyed state; it reports whether there is a store to put it in,
// and then completes d.
func (s *Setup) bind(d *statebackend.Descriptor, codecErr error) bool {
	if codecErr != nil {
		s.fail(fmt.Errorf("operator %q can't keep state %q: %w", s.o.UID, d.Name, codecErr))
		return false
	}
	if !s.o.Key.Keyed {
		s.fail(fmt.Errorf("operator %q declares state %q for each key, but its input has no key; use KeyBy before it, or a SplitList", s.o.UID, d.Name))
		return false
	}
	ok := s.declare(&metapb.State{
		Name: d.Name, Kind: d.Kind, ValueSchema: d.ValueSchema, NamespaceSchema: d.NamespaceSchema,
	})
	if !ok || s.planning {
		return false
	}
	if d.ID = s.o.StateID(d.Name); d.ID == 0 || s.o.Store == nil {
		s.fail(fmt.Errorf("operator %q: no id was allocated for state %q: it was not declared when the job was planned", s.o.UID, d.Name))
		return false
	}
	return true
}

// declare checks a name and notes the declaration.
func (s *Setup) declare(st *metapb.State) bool {
	reserved := runtimeState(st.Name)
	switch {
	case st.Name == "" || len(st.Name) > maxStateName:
		s.fail(fmt.Errorf("operator %q: the name of a state must have 1 to %d bytes, %q has %d", s.o.UID, maxStateName, st.Name, len(st.Name)))
		return false
	case strings.HasPrefix(st.Name, reservedPrefix) && !reserved:
		s.fail(fmt.Errorf("operator %q: state %q: names that begin with %q are the runtime's", s.o.UID, st.Name, reservedPrefix))
		return false
	}
	for _, d := range s.declared {
		if d.Name == st.Name {
			s.fail(fmt.Errorf("operator %q declares %q twice", s.o.UID, st.Name))
			return false
		}
	}
	s.declared = append(s.declared, st)
	if s.planning {
		return true
	}
	if !slices.ContainsFunc(s.o.Declared, func(p *metapb.State) bool { return p.Name == st.Name && p.Kind == st.Kind }) {
		s.fail(fmt.Errorf("operator %q declares %q now, but did not when the job was planned: its factory must declare the same each time", s.o.UID, st.Name))
		return false
	}
	return true
}

func (s *Setup) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Counter returns the user counter with this name. Counters are for people: they
// are shown with the subtask, start at 0 with each attempt, and are no state.
func (s *Setup) Counter(name string) *Counter {
	for _, c := range s.counters {
		if c.name == name {
			return c
		}
	}
	c := &Counter{name: name}
	if name == "" || len(name) > maxStateName {
		s.fail(fmt.Errorf("operator %q: the name of a counter must have 1 to %d bytes, %q has %d", s.o.UID, maxStateName, name, len(name)))
		return c
	}
	if s.o.Runtime.Counters != nil {
		s.o.Runtime.Counters(c)
	}
	s.counters = append(s.counters, c)
	return c
}

// Snapshot adds the operator states and named results to into. For the runtime.
func (s *Setup) Snapshot(into *metapb.SubtaskSnapshot) {
	for _, l := range s.lists {
		into.OperatorStates = append(into.OperatorStates, l.snapshot())
	}
	for _, r := range s.results {
		into.Results = append(into.Results, r.result())
	}
	if s.owned != nil {
		into.Owned = s.owned.list()
	}
}

// CurrentKey describes the key of the current record, "" if the operator is not
// keyed. For reports of failures.
func (s *Setup) CurrentKey() string {
	if s.cursor == nil {
		return ""
	}
	return s.cursor.describe()
}
