package weir

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/internal/buildflags"
	"github.com/weirstream/weir/internal/replace"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/operator"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/taskmanager/exchange"
	"github.com/weirstream/weir/taskmanager/task"
)

const (
	planFormat = 1   // metapb.Plan.format_version
	maxUID     = 100 // bytes; uids become parts of file names
	rateParam  = "weir.rate-of"
)

// Env is what build declares a job on. It belongs to the one call of build that it
// was given to.
//
// Mistakes (a uid used twice, records that no codec can encode) are kept until
// build returns, the first one counts; so calls need no error check in between.
type Env struct {
	args   []string
	lookup func(name string) string // an environment variable of the client, recorded

	plan      *metapb.Plan
	operators []task.Operator   // parallel to plan.Operators
	sides     [][]operator.Side // parallel to plan.Operators
	timed     []bool            // parallel to plan.Operators: what it emits has event times
	params    map[string]string
	settings  map[string]string // Plan.config
	defaults  map[string]string // Plan.defaults
	types     codec.Types       // named by Use
	replaced  *replace.Set      // by a test, or nil
	err       error             // the first mistake, or nil
}

func newEnv(args []string, lookup func(string) string) *Env {
	return &Env{
		args: args, lookup: lookup,
		plan:   &metapb.Plan{FormatVersion: planFormat, Name: programName(), Args: args, WeirVersion: buildflags.Version()},
		params: map[string]string{}, settings: map[string]string{}, defaults: map[string]string{},
	}
}

// programName is the last part of the main package's import path: unlike the name
// of the binary it is the same wherever the binary runs.
func programName() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Path == "" || info.Path == "command-line-arguments" {
		return "job"
	}
	return path.Base(info.Path)
}

// Args are the arguments of the program, without its name. They are recorded in the
// plan, so that workers see what the client saw.
func (e *Env) Args() []string { return slices.Clone(e.args) }

// Param is the value of the environment variable name where the job was submitted,
// "" if it was not set. It is recorded in the plan and replayed in workers; never use
// os.Getenv in build.
func (e *Env) Param(name string) string {
	v, ok := e.params[name]
	if !ok {
		v = e.lookup(name)
		e.params[name] = v
	}
	return v
}

// Set fixes a setting of the job: it counts more than -D, -p and the cluster's
// configuration. It is meant for flags of the program, and only for those that the
// user typed (see ParseFlags).
func (e *Env) Set(key, value string) { e.settings[key] = value }

// Default gives the job a setting of its own that -D and -p override.
func (e *Env) Default(key, value string) { e.defaults[key] = value }

// Use names types, which then have versions or codecs of their own: codec.Struct,
// codec.Custom. It comes before the operators whose records or state hold them.
//
// Types without a name need it only to change in ways that their fields' names and
// tags don't tell: see package codec.
func (e *Env) Use(types ...codec.Type) {
	for _, t := range types {
		if err := e.types.Add(t); err != nil {
			e.fail(fmt.Errorf("use of a type: %w", err))
		}
	}
}

// SetName names the job.
func (e *Env) SetName(name string) { e.plan.Name = name }

// ClosingLine sets the line that sums the finished job up, printed by whatever
// follows it and kept with its result. {name} stands for the operators' named
// results (Setup.Sum, Setup.Text), {ms} for the duration of the job in ms, {rate}
// for RateOf's records a second; {name:%016x} formats as package fmt does, and {{
// is a brace.
func (e *Env) ClosingLine(text string) {
	e.fail(job.CheckClosingLine(text))
	e.plan.ClosingLine = text
}

// RateOf sets the number of records that the closing line's {rate} is computed from.
func (e *Env) RateOf(records uint64) {
	e.params[rateParam] = strconv.FormatUint(records, 10)
	e.plan.RateOf = rateParam
}

// fail keeps the first mistake.
func (e *Env) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// given notes the mistake of an operator whose function is nil.
func (e *Env) given(id identity, ok bool) bool {
	if !ok {
		e.fail(fmt.Errorf("%v: its function is nil", id))
	}
	return ok
}

// finish returns what build has declared.
func (e *Env) finish() (*task.Program, error) {
	if err := e.checkReplaced(); err != nil {
		return nil, err // first: else it may well be the real thing that complains
	}
	if e.err != nil {
		return nil, e.err
	}
	e.plan.Params = sortedSettings(e.params)
	e.plan.Config = sortedSettings(e.settings)
	e.plan.Defaults = sortedSettings(e.defaults)
	if err := job.ValidatePlan(e.plan); err != nil {
		return nil, err
	}
	return &task.Program{Plan: e.plan, Operators: e.operators, Types: &e.types}, nil
}

func sortedSettings(m map[string]string) []*metapb.Setting {
	var all []*metapb.Setting
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, &metapb.Setting{Key: k, Value: m[k]})
	}
	return all
}

// upstream is where records come from: an operator, and how they are to be divided
// over the subtasks of whoever consumes them.
type upstream struct {
	from int // index into Plan.Operators
	dist metapb.Distribution
	side string // output of it; "" is the main one
}

// input is one input of an operator: where from, and what is needed to carry its
// records between subtasks.
type input struct {
	upstream
	port       uint32
	recordType reflect.Type
	edge       func() (exchange.AnyEdge, []byte, error) // the edge and its record schema
}

// declaration is an operator as a method of Stream or Keyed describes it.
type declaration struct {
	identity
	kind   metapb.OperatorKind
	hidden bool
	opts   options
	inputs []input
	planned
	key   []byte // codec.Schema of the key
	timed bool   // it gives records their event time
	link  func(l *task.Linker) error
}

// identity is how an operator is called.
type identity struct {
	uid  string
	auto bool   // uid is made up
	verb string // what it does: "map"
}

// String is for messages.
func (i identity) String() string { return fmt.Sprintf("%s %q", i.verb, i.uid) }

// identify gives an operator its uid, that of the user if there is one.
func (e *Env) identify(uid, verb string, from []upstream) identity {
	if uid == "" {
		return identity{e.autoUID(verb, from), true, verb}
	}
	e.fail(checkUID(uid))
	return identity{uid, false, verb}
}

// declare adds an operator to the plan and returns its index.
func (e *Env) declare(d declaration) int {
	index := len(e.plan.Operators)
	op := &metapb.Operator{
		Uid: d.uid, AutoUid: d.auto, Name: d.opts.name, Kind: d.kind, Hidden: d.hidden,
		Parallelism: uint32(d.opts.parallelism), States: d.states, Commits: d.commits, KeySchema: d.key,
	}
	if op.Name == "" && d.auto {
		op.Name = d.verb
	} else if op.Name == "" {
		op.Name = d.uid
	}
	built := task.Operator{Link: d.link, Inputs: make([]exchange.AnyEdge, len(d.inputs))}
	e.plan.Operators = append(e.plan.Operators, op)
	e.sides = append(e.sides, d.sides)
	e.timed = append(e.timed, d.timed || slices.ContainsFunc(d.inputs, func(in input) bool { return e.timed[in.from] }))
	for n, in := range d.inputs {
		i := &metapb.Input{From: uint32(in.from), Side: in.side, Port: in.port, Distribution: in.dist, RecordType: in.recordType.String()}
		op.Inputs = append(op.Inputs, i)
		if e.alwaysChained(op, in, len(d.inputs)) {
			continue // its records never leave the subtask: no codec needed
		}
		edge, schema, err := in.edge()
		if err != nil {
			e.fail(fmt.Errorf("operator %q: its records of type %v can't travel between subtasks: %w", op.Uid, in.recordType, err))
			continue
		}
		built.Inputs[n], i.RecordSchema = edge, schema
	}
	e.operators = append(e.operators, built)
	return index
}

// alwaysChained reports whether op runs in the subtask of its producer whatever the
// parallelism of the job: the rule of job.NewGraph.
func (e *Env) alwaysChained(op *metapb.Operator, in input, inputs int) bool {
	return inputs == 1 && in.dist == metapb.Distribution_DISTRIBUTION_FORWARD &&
		e.plan.Operators[in.from].Parallelism == op.Parallelism
}

// autoUID makes an id of the operator's place: its producer's, what it does, and a
// number if that is taken.
func (e *Env) autoUID(verb string, from []upstream) string {
	base := verb
	if len(from) > 0 {
		base = e.plan.Operators[from[0].from].Uid + "-" + verb
	}
	if len(base) > maxUID-8 {
		base = verb
	}
	for n := 1; ; n++ {
		uid := base
		if n > 1 {
			uid = base + "-" + strconv.Itoa(n)
		}
		if !slices.ContainsFunc(e.plan.Operators, func(o *metapb.Operator) bool { return o.Uid == uid }) {
			return uid
		}
	}
}

// options adds up the options of an operator; Named and Parallelism are always
// allowed.
func (e *Env) options(id identity, opts []Option, allowed ...string) options {
	o, err := collect(opts, id.String(), append(allowed, optNamed, optParallelism)...)
	e.fail(err)
	return o
}

func checkUID(uid string) error {
	switch {
	case len(uid) > maxUID:
		return fmt.Errorf("uid %q has %d bytes, at most %d are allowed", uid, len(uid), maxUID)
	case !utf8.ValidString(uid):
		return fmt.Errorf("uid %q is not valid UTF-8", uid)
	case strings.ContainsAny(uid, `/\#`) || strings.ContainsFunc(uid, unicode.IsControl):
		return fmt.Errorf(`uid %q has a character that is not allowed: no "/", "\", "#" or control character`, uid)
	case uid == "." || uid == "..":
		return errors.New("uids \".\" and \"..\" are not allowed")
	}
	return nil
}

// From starts a stream with the records of src. Options: Named, Parallelism.
func (e *Env) From[T any](uid string, src operator.Source[T], opts ...Option) *Stream[T] {
	id := e.identify(uid, "source", nil)
	return declareSource(e, id, src, e.options(id, opts))
}
