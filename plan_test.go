package weir

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

func numbers(n int64) Source[uint64] {
	return generator.Range(n, func(i uint64) uint64 { return i })
}

func even(i uint64) bool { return i%2 == 0 }

// noMap is a nil map that staticcheck does not see through.
func noMap() map[string]int { return nil }

// planOf plans build with nothing around it.
func planOf(build func(*Env) error, opts ...Option) (*metapb.Plan, error) {
	plan, _, err := programOf(build, opts, nil, func(string) string { return "" })
	return plan, err
}

// describe is a plan as text, a line an operator.
func describe(plan *metapb.Plan) string {
	var b strings.Builder
	for i, op := range plan.Operators {
		fmt.Fprintf(&b, "%d %s %q %s", i, op.Uid, op.Name, strings.ToLower(strings.TrimPrefix(op.Kind.String(), "OPERATOR_KIND_")))
		if op.AutoUid {
			b.WriteString(" auto")
		}
		if op.Parallelism > 0 {
			fmt.Fprintf(&b, " x%d", op.Parallelism)
		}
		for _, in := range op.Inputs {
			fmt.Fprintf(&b, " <-%d %s %s", in.From, strings.ToLower(strings.TrimPrefix(in.Distribution.String(), "DISTRIBUTION_")), in.RecordType)
			if len(in.RecordSchema) == 0 {
				b.WriteString(" (chained)")
			}
		}
		for _, st := range op.States {
			fmt.Fprintf(&b, " %s:%s", st.Name, strings.ToLower(strings.TrimPrefix(st.Kind.String(), "STATE_KIND_")))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// tally is a keyed operator with every optional method.
type tally struct {
	seen  *Value[int64]
	names *Map[string, int64]
	sum   *Sum
}

func newTally(s *Setup) *tally {
	return &tally{seen: s.Value[int64]("seen"), names: s.Map[string, int64]("names"), sum: s.Sum("all")}
}

func (p *tally) Process(c *Ctx[uint64], v uint64, out *Collector[string]) error {
	out.Emit(fmt.Sprint(c.Key(), v))
	return nil
}
func (p *tally) OnTimer(*Ctx[uint64], *Collector[string]) error { return nil }
func (p *tally) EndOfInput(*Collector[string]) error            { return nil }
func (p *tally) Open() error                                    { return nil }
func (p *tally) Close() error                                   { return nil }

func TestPlan(t *testing.T) {
	plan, err := planOf(func(env *Env) error {
		odd := env.From("numbers", numbers(10)).Filter("odd", func(i uint64) bool { return !even(i) }, Named("Odd numbers"))
		odd.Map("", func(i uint64) float64 { return float64(i) }).Print()
		both := odd.Union(env.From("more", numbers(5), Parallelism(2)).Rebalance())
		both.KeyBy(Self).Process("tally", newTally, Parallelism(3)).
			FlatMapSeq("bytes", func(s string) iter.Seq[byte] {
				return func(yield func(byte) bool) { yield(s[0]) }
			}).
			KeyBy(func(b byte) byte { return b }).
			Fold("fold", 0, func(n int, _ byte) int { return n + 1 }, func(b byte, n int) string { return fmt.Sprint(b, n) }, AtEnd).
			Print()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `0 numbers "numbers" source weir.splits:split_list
1 odd "Odd numbers" transform <-0 forward uint64 (chained)
2 odd-map "map" transform auto <-1 forward uint64 (chained)
3 odd-map-print "print" sink auto <-2 forward float64 (chained)
4 more "more" source x2 weir.splits:split_list
5 tally "tally" transform x3 <-1 hash uint64 <-4 hash uint64 all:result names:map seen:value weir.event-timers:timer weir.timers:timer
6 bytes "bytes" transform <-5 forward string
7 fold "fold" transform <-6 hash uint8 value:value
8 fold-print "print" sink auto <-7 forward string (chained)
`
	if d := cmp.Diff(want, describe(plan)); d != "" {
		t.Error(d)
	}
	g, err := job.NewGraph(plan, 4)
	if err != nil {
		t.Fatal(err)
	}
	var vertices []string
	for _, v := range g.Vertices {
		vertices = append(vertices, fmt.Sprintf("%s x%d", g.VertexName(v.ID), v.Parallelism))
	}
	if d := cmp.Diff([]string{
		"numbers -> Odd numbers -> map -> print x4", "more x2", "tally x3", "bytes x4", "fold -> print x4",
	}, vertices); d != "" {
		t.Error(d)
	}
	if w := Warnings(plan); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

type wrongTimer struct{ tally }

func (*wrongTimer) OnTimer(*Ctx[int], *Collector[string]) error { return nil }

type wrongOpen struct{ tally }

func (*wrongOpen) Open(context.Context) error { return nil }

type plainTimer struct{}

func (plainTimer) Process(v uint64, out *Collector[uint64]) error { return nil }
func (plainTimer) OnTimer(*Ctx[uint64], *Collector[uint64]) error { return nil }

// outOfReach has its timer method on the pointer, and is given by value.
type outOfReach struct{}

func (outOfReach) Process(*Ctx[uint64], uint64, *Collector[uint64]) error { return nil }
func (*outOfReach) OnTimer(*Ctx[uint64], *Collector[uint64]) error        { return nil }

// named declares a sum or a text of a name.
type named struct{ plainTimerless }

func newNamed(name string, sum bool) func(s *Setup) named {
	return func(s *Setup) named {
		if sum {
			s.Sum(name)
		} else {
			s.Text(name)
		}
		return named{}
	}
}

// kept is a type that programs name.
type kept struct{ N int }

type namedKeeper struct{}

func (namedKeeper) Process(*Ctx[uint64], uint64, *Collector[kept]) error { return nil }

func newNamedKeeper(s *Setup) namedKeeper {
	s.Value[kept]("one")
	s.List[[]kept]("many")
	return namedKeeper{}
}

// TestUse: state and records have the names that the program has given their types.
func TestUse(t *testing.T) {
	plan, err := planOf(func(env *Env) error {
		env.Use(codec.Struct("shop.Kept", 2, codec.Up(1, func(n int32) kept { return kept{int(n)} })))
		env.From("numbers", numbers(1)).KeyBy(Self).Process("a", newNamedKeeper).Rebalance().Map("b", func(k kept) int { return k.N }).Print()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const layout = "@shop.Kept/2(struct{N int64}<1(int32)>)"
	for _, schema := range [][]byte{plan.Operators[1].States[1].ValueSchema, plan.Operators[2].Inputs[0].RecordSchema} {
		if info, err := codec.Schema(schema).Parse(); err != nil || info.Description != layout {
			t.Errorf("description %q, %v, want %q", info.Description, err, layout)
		}
	}
	if info, err := codec.Schema(plan.Operators[1].States[0].ValueSchema).Parse(); err != nil || info.Description != "[]"+layout {
		t.Errorf("description %q, %v", info.Description, err)
	}
}

type plainState struct{ plainTimerless }
type plainTimerless struct{}

func (plainTimerless) Process(v uint64, out *Collector[uint64]) error { return nil }

// TestMistakes: each is refused by name, and build may go on after it.
func TestMistakes(t *testing.T) {
	on := func(f func(s *Stream[uint64])) func(*Env) error {
		return func(env *Env) error { f(env.From("numbers", numbers(1))); return nil }
	}
	identity := func(v uint64) uint64 { return v }
	other, _ := func() (s *Stream[uint64], err error) {
		_, err = planOf(func(env *Env) error { s = env.From("other", numbers(1)); return nil })
		return s, err
	}()
	for name, c := range map[string]struct {
		build func(*Env) error
		want  string
	}{
		"nothing":          {func(*Env) error { return nil }, "declares no operator"},
		"twice":            {on(func(s *Stream[uint64]) { s.Map("numbers", identity).Print() }), `uid "numbers" is used twice`},
		"uid with a slash": {on(func(s *Stream[uint64]) { s.Map("a/b", identity).Print() }), `uid "a/b" has a character`},
		"long uid":         {on(func(s *Stream[uint64]) { s.Map(strings.Repeat("x", 101), identity).Print() }), "has 101 bytes"},
		"parallelism":      {on(func(s *Stream[uint64]) { s.Map("m", identity, Parallelism(0)).Print() }), `map "m": parallelism 0`},
		"option":           {on(func(s *Stream[uint64]) { s.Map("m", identity, AtEnd).Print() }), `map "m" is given weir.AtEnd`},
		"job option":       {on(func(s *Stream[uint64]) { s.Map("m", identity, Checkpoint(1)).Print() }), "does nothing there"},
		"key": {on(func(s *Stream[uint64]) {
			s.KeyBy(func(uint64) any { return 1 }).Reduce("r", func(a, b uint64) uint64 { return a }).Print()
		}), "cannot be (part of) a key"},
		"record": {on(func(s *Stream[uint64]) {
			s.Map("funcs", func(uint64) func() { return nil }).Rebalance().Map("calls", func(func()) int { return 0 }).Print()
		}), `operator "calls": its records of type func() can't travel`},
		"state codec": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Fold("f", nil, func(f func(), _ uint64) func() { return f }, func(uint64, func()) int { return 0 }).Print()
		}), `can't keep state "value"`},
		"nil sink": {on(func(s *Stream[uint64]) { s.To("nowhere", nil) }), `sink "nowhere": it is nil`},
		"nil source": {func(env *Env) error {
			env.From[int]("void", nil).Map("", func(i int) int { return i }).Print()
			return nil
		}, `source "void": it is nil`},
		"nil process": {on(func(s *Stream[uint64]) { s.KeyBy(Self).Process("p", func(*Setup) *tally { return nil }).Print() }), `process "p": it is nil`},
		"wrong timer": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Process("p", func(*Setup) *wrongTimer { return &wrongTimer{} }).Print()
		}), "method OnTimer of *weir.wrongTimer would never be called"},
		"wrong open": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Process("p", func(*Setup) *wrongOpen { return &wrongOpen{} }).Print()
		}), "method Open of *weir.wrongOpen would never be called"},
		"timer without key": {on(func(s *Stream[uint64]) {
			s.Process("p", func(*Setup) plainTimer { return plainTimer{} }).Print()
		}), "only keyed streams have timers"},
		"state without key": {on(func(s *Stream[uint64]) {
			s.Process("p", func(s *Setup) *plainState { s.Value[int]("n"); return &plainState{} }).Print()
		}), "its input has no key"},
		"state used in build": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Process("p", func(s *Setup) *tally { s.Value[int]("n").Set(1); return nil }).Print()
		}), "used outside a running operator"},
		"method out of reach": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Process("p", func(*Setup) outOfReach { return outOfReach{} }).Print()
		}), `process "p": weir.outOfReach is given by value`},
		"nil map":     {on(func(s *Stream[uint64]) { s.Map[int]("m", nil).Print() }), `map "m": its function is nil`},
		"nil filter":  {on(func(s *Stream[uint64]) { s.Filter("f", nil).Print() }), `filter "f": its function is nil`},
		"nil flatmap": {on(func(s *Stream[uint64]) { s.FlatMapSeq[int]("f", nil).Print() }), `flatmap "f": its function is nil`},
		"nil key":     {on(func(s *Stream[uint64]) { s.KeyBy[int](nil).Reduce("r", func(a, _ uint64) uint64 { return a }).Print() }), `KeyBy after "numbers"`},
		"nil reduce":  {on(func(s *Stream[uint64]) { s.KeyBy(Self).Reduce("r", nil).Print() }), `reduce "r": its function is nil`},
		"nil fold": {on(func(s *Stream[uint64]) {
			s.KeyBy(Self).Fold[int, int]("f", 0, nil, func(_ uint64, n int) int { return n }).Print()
		}), `fold "f": its function is nil`},
		"nil factory":             {on(func(s *Stream[uint64]) { s.KeyBy(Self).Process[string, *tally]("p", nil).Print() }), `process "p": its function is nil`},
		"nil factory without key": {on(func(s *Stream[uint64]) { s.Process[uint64, plainTimerless]("p", nil).Print() }), `process "p": its function is nil`},
		"nil generator": {func(env *Env) error {
			env.From("g", generator.Range[int](1, nil)).Print()
			return nil
		}, `source "g": make its enumerator: generate records: the function`},
		"result that is a sum and a text": {on(func(s *Stream[uint64]) {
			s.Process("a", newNamed("n", true)).Process("b", newNamed("n", false)).Print()
		}), `result "n" is a sum in one of the operators "a" and "b" and a text in the other`},
		"result of the job's own": {on(func(s *Stream[uint64]) { s.Process("a", newNamed("ms", true)).Print() }), `no result can be called "ms"`},
		"other program":           {on(func(s *Stream[uint64]) { s.Union(other).Print() }), "two different programs"},
		"closing line":            {func(env *Env) error { env.ClosingLine("{n"); env.From("n", numbers(1)).Print(); return nil }, "invalid closing line"},
		"type named late": {func(env *Env) error {
			env.From("numbers", numbers(1)).KeyBy(Self).Process("a", newNamedKeeper).Print()
			env.Use(codec.Struct[kept]("kept", 1))
			return nil
		}, `use of a type: type weir.kept is named "kept" after an operator has used it`},
		"own error": {func(*Env) error { return errors.New("no input given") }, "no input given"},
		"panic":     {func(*Env) error { m := noMap(); m["x"] = 1; return nil }, "build panicked: assignment to entry in nil map (github.com/weirstream/weir.TestMistakes"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := planOf(c.build)
			if err == nil {
				t.Fatalf("planned:\n%s", describe(plan))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

func TestImpureBuild(t *testing.T) {
	runs := 0
	_, err := planOf(func(env *Env) error {
		runs++
		s := env.From("numbers", numbers(10))
		if runs > 1 {
			s = s.Filter("second time", even)
		}
		s.Map("double", func(i uint64) uint64 { return 2 * i }).Print()
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), `operator number 1 is "second time", in the submitted plan "double"`) {
		t.Errorf("error %v", err)
	}
}

func TestParamsAreReplayed(t *testing.T) {
	env := map[string]string{"REGION": "north"}
	build := func(env *Env) error {
		env.From(env.Param("REGION")+strings.Join(env.Args(), ""), numbers(1)).Print()
		return nil
	}
	plan, newProgram, err := programOf(build, nil, []string{"-a", "b"}, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	env["REGION"] = "south"
	p, err := newProgram()
	if err != nil {
		t.Fatal(err)
	}
	if d := job.PlanDifference(plan, p.Plan); d != "" {
		t.Error(d)
	}
	if p.Plan.Operators[0].Uid != "north-ab" || len(plan.Params) != 1 || plan.Params[0].Value != "north" {
		t.Errorf("plan %v", p.Plan)
	}
}

func TestSettings(t *testing.T) {
	plan, err := planOf(func(env *Env) error {
		env.Set("state.backend.type", "heap")
		env.Default("a", "1")
		env.RateOf(7)
		env.From("numbers", numbers(1)).Map("", func(i uint64) uint64 { return i }).
			KeyBy(Self).Reduce("", func(a, _ uint64) uint64 { return a }).Print()
		return nil
	}, Named("mine"), Parallelism(3), Checkpoint(1500*time.Millisecond), Set("b", "2"))
	if err != nil {
		t.Fatal(err)
	}
	pairs := func(all []*metapb.Setting) (s string) {
		for _, p := range all {
			s += p.Key + "=" + p.Value + " "
		}
		return s
	}
	if got, want := pairs(plan.Defaults), "a=1 b=2 execution.checkpointing.interval=1500ms parallelism.default=3 "; got != want {
		t.Errorf("defaults %s, want %s", got, want)
	}
	if got, want := pairs(plan.Config), "state.backend.type=heap "; got != want {
		t.Errorf("config %s, want %s", got, want)
	}
	if plan.Name != "mine" || plan.RateOf == "" || pairs(plan.Params) != plan.RateOf+"=7 " {
		t.Errorf("plan %v", plan)
	}
	if w := Warnings(plan); len(w) != 1 || !strings.Contains(w[0], `operator "numbers-map-reduce" keeps state`) {
		t.Errorf("warnings %q", w)
	}
}

func TestFlags(t *testing.T) {
	build := func(env *Env) error {
		fs := flag.NewFlagSet("bench", flag.ContinueOnError)
		fs.String("workload", "", "what to `run`")
		fs.Int("n", 0, "records")
		if err := env.ParseFlags(fs); err != nil {
			return err
		}
		env.From("numbers", numbers(1)).Print()
		return nil
	}
	for _, c := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{[]string{"--workload", "x", "-n=3", "--plan"}, 2, "", "error: unknown flag --plan"},
		{[]string{"--wrkload", "x"}, 2, "", "error: unknown flag --wrkload; did you mean --workload?\n"},
		{[]string{"--n", "x"}, 2, "", "invalid value \"x\" for flag -n"},
		{[]string{"-h"}, 0, "what to run", ""},
		{[]string{"--plan", "--n", "3"}, 0, `"uid"`, ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), build, nil, c.args, func(string) string { return "" }, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: code %d\nstdout %s\nstderr %s", c.args, code, &stdout, &stderr)
		}
		if c.stderr == "" && stderr.Len() > 0 || c.stdout == "" && stdout.Len() > 0 {
			t.Errorf("%q: stdout %q, stderr %q", c.args, &stdout, &stderr)
		}
	}
}

func TestPlanIsWrittenToAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plan.pb")
	env := map[string]string{EnvPlan: file}
	build := func(env *Env) error { env.From("numbers", numbers(1)).Print(); return nil }
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), build, []Option{Named("written")}, []string{"x"}, func(k string) string { return env[k] }, &stdout, &stderr)
	if code != 0 || stdout.Len()+stderr.Len() > 0 {
		t.Fatalf("code %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var plan metapb.Plan
	if err := proto.Unmarshal(b, &plan); err != nil || plan.Name != "written" || len(plan.Args) != 1 {
		t.Errorf("%v: %v", err, &plan)
	}
	env[EnvPlan] = filepath.Join(file, "not a folder")
	if code := run(t.Context(), build, nil, nil, func(k string) string { return env[k] }, &stdout, &stderr); code != 1 {
		t.Errorf("code %d for a file that can't be written", code)
	}
}
