package compat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/compat"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/coordinator/restore"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// program plans build.
func program(t *testing.T, build func(env *weir.Env) error) *metapb.Plan {
	t.Helper()
	plan, _, err := weir.ProgramFor(nil, func(string) string { return "" }, build)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// snapshotOf is the _metadata of a job of plan at parallelism 2 that has some of
// everything it declares.
func snapshotOf(t *testing.T, plan *metapb.Plan) *metapb.CheckpointMetadata {
	t.Helper()
	ids := restore.AllocateStateIDs(restore.StateIDs{}, plan)
	m := &metapb.CheckpointMetadata{CheckpointId: 7, JobName: "orders", StateIds: ids.IDs, NextStateId: ids.Next}
	for _, op := range plan.Operators {
		s := &metapb.OperatorSnapshot{Uid: op.Uid, Parallelism: 2, KeySchema: op.KeySchema}
		for i := range 2 {
			r := stream.RangeOf(i, 2)
			sub := &metapb.SubtaskSnapshot{Index: uint32(i), FirstGroup: uint32(r.First), LastGroup: uint32(r.Last)}
			for _, st := range op.States {
				switch st.Kind {
				case metapb.StateKind_STATE_KIND_RESULT:
					sub.Results = append(sub.Results, &metapb.Result{Name: st.Name, Value: &metapb.Result_Sum{Sum: 1}})
				case metapb.StateKind_STATE_KIND_SPLIT_LIST, metapb.StateKind_STATE_KIND_UNION_LIST:
					sub.OperatorStates = append(sub.OperatorStates, &metapb.OperatorState{Name: st.Name, Kind: st.Kind, Schema: st.ValueSchema, Entries: [][]byte{{1, 2, 3}}})
				default:
					id := ids.IDs[slices.IndexFunc(ids.IDs, func(x *metapb.StateID) bool { return x.Uid == op.Uid && x.Name == st.Name })].Id
					sub.Schemas = append(sub.Schemas, &metapb.Schema{StateId: id, Schema: st.ValueSchema, NamespaceSchema: st.NamespaceSchema, Kind: st.Kind})
					sub.Runs = []*metapb.Run{{Id: fmt.Sprint("r", i), Files: []*metapb.RunFile{{Name: "shared/r"}}, LastGroup: 65535, Bytes: 1000}}
				}
			}
			s.Subtasks = append(s.Subtasks, sub)
		}
		m.Operators = append(m.Operators, s)
	}
	return m
}

// text is a report in short: operators and states with their verdicts.
func text(r *compat.Report) string {
	var b strings.Builder
	for _, op := range r.Operators {
		fmt.Fprintf(&b, "%s %s %d\n", op.UID, op.Verdict, op.Bytes)
		if op.Detail != "" {
			fmt.Fprintf(&b, "  %s\n", op.Detail)
		}
		for _, s := range op.States {
			fmt.Fprintf(&b, "  %s %s: %s", s.Name, s.Kind, s.Verdict)
			if s.Detail != "" {
				fmt.Fprintf(&b, ": %s", s.Detail)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

type (
	order   struct{ User string }
	spentV1 struct{ Cents int32 }
	spentV2 struct {
		Total int64 `weir:"was=Cents"`
		Last  string
	}
	spentBad struct{ Cents string }
)

// keeper keeps one value of V for each key, and what more is declared.
type keeper[K comparable, V any] struct{}

func (keeper[K, V]) Process(*weir.Ctx[K], order, *weir.Collector[order]) error { return nil }

func keep[K comparable, V any](more func(*weir.Setup)) func(*weir.Setup) keeper[K, V] {
	return func(s *weir.Setup) keeper[K, V] {
		s.Value[V]("sum")
		if more != nil {
			more(s)
		}
		return keeper[K, V]{}
	}
}

func orders(env *weir.Env) *weir.Stream[order] {
	return env.From("orders", generator.Range(1, func(uint64) order { return order{} }))
}

func user(o order) string { return o.User }

func first(env *weir.Env) error {
	orders(env).KeyBy(user).Process("spent", keep[string, spentV1](func(s *weir.Setup) {
		s.List[spentV1]("all")
		s.Map[string, int32]("by-item")
		s.Sum("records")
		s.SplitList[spentV1]("seen")
	})).To("print", discard{})
	return nil
}

type discard struct{}

func (discard) NewWriter(*weir.Setup) (weir.Writer[order], error) { return discard{}, nil }
func (discard) Write(order) error                                 { return nil }

func TestCheck(t *testing.T) {
	old := snapshotOf(t, program(t, first))
	for name, c := range map[string]struct {
		build   func(env *weir.Env) error
		allow   bool
		want    string
		err     string
		lost    string
		refused bool // by package restore too
	}{
		"the same": {build: first, want: `
orders mapped 6
  weir.splits split list: mapped
spent mapped 2006
  all list: mapped
  by-item map: mapped
  records result: mapped
  seen split list: mapped
  sum value: mapped
`},
		"evolved": {build: func(env *weir.Env) error {
			orders(env).Map("same", weir.Self).KeyBy(user).Process("spent", keep[string, spentV2](func(s *weir.Setup) {
				s.List[spentV2]("all")
				s.Map[string, int64]("by-item")
				s.Sum("records")
				s.SplitList[spentV2]("seen")
				s.Value[bool]("fresh")
			})).To("print", discard{})
			return nil
		}, want: `
orders mapped 6
  weir.splits split list: mapped
spent migrated 2006
  all list: migrated: field Total was Cents; field Total int32 becomes int64; field Last string is new
  by-item map: migrated: int32 becomes int64
  fresh value: new
  records result: mapped
  seen split list: migrated: field Total was Cents; field Total int32 becomes int64; field Last string is new
  sum value: migrated: field Total was Cents; field Total int32 becomes int64; field Last string is new
`},
		"renamed operator": {build: func(env *weir.Env) error {
			orders(env).KeyBy(user).Process("expenses", keep[string, spentV1](func(s *weir.Setup) {
				s.List[spentV1]("all")
				s.Map[string, int32]("by-item")
				s.Sum("records")
				s.SplitList[spentV1]("seen")
			})).To("print", discard{})
			return nil
		}, want: `
expenses new 0
  all list: new
  by-item map: new
  records result: new
  seen split list: new
  sum value: new
orders mapped 6
  weir.splits split list: mapped
spent unmapped 2006
  all list: unmapped
  by-item map: unmapped
  records result: unmapped
  seen split list: unmapped
  sum value: unmapped
`, err: `state (list all, map by-item, result records, split list seen, value sum) of operator "spent", 2006 bytes, has no operator in the program`, refused: true},
		"operator dropped": {allow: true, build: func(env *weir.Env) error { orders(env).To("print", discard{}); return nil }, want: `
orders mapped 6
  weir.splits split list: mapped
spent dropped 2006
  all list: dropped
  by-item map: dropped
  records result: dropped
  seen split list: dropped
  sum value: dropped
`, lost: `the state of operator "spent", 2006 bytes, is dropped: the program has no such operator`},
		"states gone": {build: func(env *weir.Env) error {
			orders(env).KeyBy(user).Process("spent", keep[string, spentV1](nil)).To("print", discard{})
			return nil
		}, want: `
orders mapped 6
  weir.splits split list: mapped
spent unmapped 2006
  all list: unmapped
  by-item map: unmapped
  records result: dropped
  seen split list: unmapped
  sum value: mapped
`, err: `operator "spent" does not declare its list state "all" any more; and 2 more`, refused: true},
		"incompatible": {build: func(env *weir.Env) error {
			orders(env).KeyBy(user).Process("spent", keep[string, spentBad](func(s *weir.Setup) {
				s.Value[spentV1]("all")
				s.Map[int32, int32]("by-item")
				s.Text("records")
				s.UnionList[spentV1]("seen")
			})).To("print", discard{})
			return nil
		}, want: `
orders mapped 6
  weir.splits split list: mapped
spent incompatible 2006
  all value: incompatible: it was a list and is a value now
  by-item map: incompatible: the keys of its map: stored under keys string, the program has int32: keys can't change
  records result: incompatible: it was a sum and is a text now
  seen union list: incompatible: it was a split list and is a union list now
  sum value: incompatible: field Cents is stored as int32, the program has string
`, err: `operator "spent", state "all": it was a list and is a value now; and 4 more`, refused: true},
		"another key": {build: func(env *weir.Env) error {
			orders(env).KeyBy(func(o order) int { return len(o.User) }).Process("spent", keep[int, spentV1](func(s *weir.Setup) {
				s.List[spentV1]("all")
				s.Map[string, int32]("by-item")
				s.Sum("records")
				s.SplitList[spentV1]("seen")
			})).To("print", discard{})
			return nil
		}, want: `
orders mapped 6
  weir.splits split list: mapped
spent incompatible 2006
  stored under keys string, the program has int64: keys can't change
  all list: mapped
  by-item map: mapped
  records result: mapped
  seen split list: mapped
  sum value: mapped
`, err: `operator "spent": stored under keys string, the program has int64: keys can't change`},
	} {
		t.Run(name, func(t *testing.T) {
			plan := program(t, c.build)
			r := compat.Check(old, plan, compat.Options{AllowNonRestored: c.allow})
			if got := text(r); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
			err := r.Err()
			if (err == nil) != (c.err == "") || err != nil && (!errors.Is(err, compat.ErrIncompatible) || !strings.HasSuffix(err.Error(), ": "+c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if lost := strings.Join(r.Lost(), "; "); lost != c.lost {
				t.Errorf("lost %q, want %q", lost, c.lost)
			}
			if r.Restorable != (err == nil) {
				t.Errorf("restorable %t", r.Restorable)
			}
			// What package restore refuses is refused here.
			g, gerr := job.NewGraph(plan, 3)
			if gerr != nil {
				t.Fatal(gerr)
			}
			if _, rerr := restore.Plan(old, g, restore.Options{AllowNonRestored: c.allow}); (rerr != nil) != c.refused {
				t.Errorf("restore says %v", rerr)
			}
		})
	}
}

func TestHintsAndWarnings(t *testing.T) {
	old := snapshotOf(t, program(t, first))
	r := compat.Check(old, program(t, func(env *weir.Env) error {
		orders(env).KeyBy(user).Process("", keep[string, spentV1](func(s *weir.Setup) {
			s.List[spentV1]("all")
			s.Map[string, int64]("by-item")
			s.Sum("records")
			s.SplitList[spentV1]("seen")
		})).To("print", discard{})
		return nil
	}), compat.Options{})
	want := []string{`keep the state of "spent":  --map-uid spent=orders-process`, "drop what no operator takes:  -n"}
	if got := r.Hints(); !slices.Equal(got, want) {
		t.Errorf("hints %q, want %q", got, want)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], `operator "orders-process" keeps state and has no uid of its own`) {
		t.Errorf("warnings %q", r.Warnings)
	}
	if r.Bytes != 6 || r.Dropped != 2006 {
		t.Errorf("%d bytes taken, %d not", r.Bytes, r.Dropped)
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"restorable":false,"bytes":6,"dropped":2006,"operators":[{"uid":"orders","verdict":"mapped","parallelism":2,"bytes":6,"states":[{"name":"weir.splits"`) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestInFlight(t *testing.T) {
	plan := program(t, first)
	m := snapshotOf(t, plan)
	op := m.Operators[slices.IndexFunc(m.Operators, func(o *metapb.OperatorSnapshot) bool { return o.Uid == "spent" })]
	c, err := codec.For[order]()
	if err != nil {
		t.Fatal(err)
	}
	op.Subtasks[0].ChannelStates = []*metapb.ChannelState{{FromUid: "orders", RecordSchema: c.Schema(), Records: 5, Size: 100}}
	if err := compat.Check(m, plan, compat.Options{}).Err(); err != nil {
		t.Errorf("error %v", err)
	}
	type order struct {
		User string
		New  int
	}
	if c, err := codec.For[order](); err != nil {
		t.Fatal(err)
	} else { // the records on their way can be brought up to date
		op.Subtasks[0].ChannelStates[0].RecordSchema = c.Schema()
	}
	if err := compat.Check(m, plan, compat.Options{}).Err(); err != nil {
		t.Errorf("error %v", err)
	}
	for name, ch := range map[string]*metapb.ChannelState{
		`records on their way to it from operator "gone", from which the program's gets none`:                         {FromUid: "gone"},
		`records on their way to it from operator "orders", and their type has changed: stored as int64, the program`: {FromUid: "orders", RecordSchema: codec.NewSchema("int", 0, "int64")},
	} {
		op.Subtasks[0].ChannelStates = []*metapb.ChannelState{ch}
		if err := compat.Check(m, plan, compat.Options{}).Err(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one with %q", err, name)
		}
		// What has nowhere to go may be dropped; what can't be read is no loss but a mistake.
		r := compat.Check(m, plan, compat.Options{AllowNonRestored: true})
		switch lost := r.Lost(); {
		case ch.FromUid != "gone" && r.Err() == nil:
			t.Error("records of another type are allowed")
		case ch.FromUid == "gone" && (r.Err() != nil || len(lost) != 1 || !strings.Contains(lost[0], name) || !strings.Contains(lost[0], `operator "spent"`)):
			t.Errorf("error %v, lost %q", r.Err(), lost)
		}
	}
}

// TestLaidOut: what forbids a start only as the program is laid out: records in flight to an
// operator that is chained to their sender now.
func TestLaidOut(t *testing.T) {
	build := func(o ...weir.Option) *metapb.Plan {
		return program(t, func(env *weir.Env) error {
			env.From("lines", file.Lines("/x")).Map("upper", strings.ToUpper, o...).To("print", discardText{})
			return nil
		})
	}
	apart := build(weir.Parallelism(3))
	m := snapshotOf(t, apart)
	op := m.Operators[slices.IndexFunc(m.Operators, func(o *metapb.OperatorSnapshot) bool { return o.Uid == "upper" })]
	op.Subtasks[0].ChannelStates = []*metapb.ChannelState{{FromUid: "lines", Distribution: metapb.Distribution_DISTRIBUTION_REBALANCE, Records: 5, Size: 100}}
	for plan, chained := range map[*metapb.Plan]bool{apart: false, build(): true} {
		g, err := job.NewGraph(plan, 2)
		if err != nil {
			t.Fatal(err)
		}
		r := compat.Check(m, plan, compat.Options{Graph: g})
		if err := r.Err(); (err != nil) != chained || r.Restorable == chained || chained && (!errors.Is(err, compat.ErrIncompatible) ||
			!strings.Contains(err.Error(), `from operator "lines"`) || !strings.Contains(err.Error(), `"upper", which are chained`)) {
			t.Errorf("chained %t: restorable %t, error %v", chained, r.Restorable, err)
		}
		if err := compat.Check(m, plan, compat.Options{}).Err(); err != nil {
			t.Errorf("without a graph: %v", err)
		}
		if err := compat.Check(m, plan, compat.Options{AllowNonRestored: true, Graph: g}).Err(); err != nil {
			t.Errorf("dropped: %v", err)
		}
	}
}

// TestRenamedSource: what belongs to a source goes with it, and has no uid to be typed.
func TestRenamedSource(t *testing.T) {
	of := func(uid string) *metapb.Plan {
		return program(t, func(env *weir.Env) error {
			env.From(uid, file.Lines("/x")).To("print", discardText{})
			return nil
		})
	}
	m := snapshotOf(t, of("lines"))
	r := compat.Check(m, of("rows"), compat.Options{})
	want := []string{`keep the state of "lines":  --map-uid lines=rows`, "drop what no operator takes:  -n"}
	if got := r.Hints(); !slices.Equal(got, want) {
		t.Errorf("hints %q, want %q", got, want)
	}
	if err := restore.MapUIDs(m, []*metapb.UIDMapping{{From: "lines", To: "rows"}}); err != nil {
		t.Fatal(err)
	}
	if err := compat.Check(m, of("rows"), compat.Options{}).Err(); err != nil {
		t.Errorf("error %v", err)
	}
	if err := compat.Check(m, of("other"), compat.Options{}).Err(); err == nil || !strings.Contains(err.Error(), `of operator "rows"`) {
		t.Errorf("error %v", err)
	}
	if lost := compat.Check(m, of("other"), compat.Options{AllowNonRestored: true}).Lost(); len(lost) != 2 || !strings.Contains(lost[1], `the enumerator of "rows"`) {
		t.Errorf("lost %q", lost)
	}
}

type discardText struct{}

func (discardText) NewWriter(*weir.Setup) (weir.Writer[string], error) { return discardText{}, nil }
func (discardText) Write(string) error                                 { return nil }

// TestWithoutSchema: a bootstrapped savepoint need not say what operator state is.
func TestWithoutSchema(t *testing.T) {
	plan := program(t, first)
	m := snapshotOf(t, plan)
	for _, op := range m.Operators {
		for _, sub := range op.Subtasks {
			for _, st := range sub.OperatorStates {
				st.Schema = nil
			}
		}
	}
	if r := compat.Check(m, plan, compat.Options{}); r.Err() != nil || !strings.Contains(text(r), "seen split list: mapped") {
		t.Errorf("error %v, %s", r.Err(), text(r))
	}
}

// TestOlderSchemas: every schema that values may have counts, of states that are still
// there.
func TestOlderSchemas(t *testing.T) {
	plan := program(t, first)
	m := snapshotOf(t, plan)
	op := m.Operators[slices.IndexFunc(m.Operators, func(o *metapb.OperatorSnapshot) bool { return o.Uid == "spent" })]
	id := m.StateIds[slices.IndexFunc(m.StateIds, func(s *metapb.StateID) bool { return s.Name == "sum" })].Id
	bad, err := codec.For[spentBad]()
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range op.Subtasks {
		sub.Schemas = append(sub.Schemas, &metapb.Schema{StateId: id, Ordinal: 1, Kind: metapb.StateKind_STATE_KIND_VALUE, Schema: bad.Schema()})
	}
	if err := compat.Check(m, plan, compat.Options{}).Err(); err == nil || !strings.Contains(err.Error(), `state "sum": field Cents is stored as string`) {
		t.Errorf("error %v", err)
	}
	// A state that was dropped earlier, of which only ordinals are left.
	for _, sub := range op.Subtasks {
		sub.Schemas = slices.DeleteFunc(sub.Schemas, func(s *metapb.Schema) bool { return s.StateId == id && s.Ordinal == 0 })
	}
	r := compat.Check(m, plan, compat.Options{})
	if err := r.Err(); err != nil || !strings.Contains(text(r), "sum value: new") {
		t.Errorf("error %v, %s", err, text(r))
	}
}
