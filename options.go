package weir

import (
	"fmt"
	"strconv"
	"time"

	"github.com/weirstream/weir/internal/replace"
	"github.com/weirstream/weir/operator"
)

// Option tunes an operator or a job. Which of the two it is for, each says; one
// that does nothing where it is given is an error.
type Option interface {
	apply(o *options)
}

// options is what the options of one operator, or those of Main, add up to.
type options struct {
	name        string
	parallelism int
	atEnd       bool
	idleness    *time.Duration
	maxAhead    *time.Duration
	timeGroup   string
	maxDrift    time.Duration
	asking      operator.Asking
	timeout     *time.Duration
	dead        any  // Tag[DeadLetter[T]] of the operator's records
	merge       any  // func(a, b A) A
	direct      bool // no aggregation before the shuffle
	settings    []setting
	replaced    *replace.Set
	used        []string // names of the options given, for the refusal
	err         error
}

type setting struct{ key, value string }

// Configuration keys that have options of their own; Flink 2's names.
const (
	keyCheckpointInterval = "execution.checkpointing.interval"
	keyParallelism        = "parallelism.default"
)

type optionFunc struct {
	name string
	f    func(*options)
}

func (f optionFunc) apply(o *options) {
	o.used = append(o.used, f.name)
	f.f(o)
}

// Named sets the name that people see, of an operator or of the job. An operator's
// default is its uid, the job's the program's.
func Named(name string) Option {
	return optionFunc{optNamed, func(o *options) { o.name = name }}
}

// Parallelism sets the number of subtasks of an operator, or the job's: that of
// every operator that has none of its own.
func Parallelism(n int) Option {
	return optionFunc{optParallelism, func(o *options) {
		if n < 1 {
			o.err = fmt.Errorf("parallelism %d is not possible, the least is 1", n)
		}
		o.parallelism = n
	}}
}

// AtEnd makes a Fold or Reduce emit the last value of each key once, when all
// inputs have ended, instead of every update.
var AtEnd Option = optionFunc{optAtEnd, func(o *options) { o.atEnd = true }}

// Checkpoint sets the time between checkpoints of the job; 0 means none but the
// one at its end.
func Checkpoint(every time.Duration) Option {
	return optionFunc{optSetting, func(o *options) {
		if every < 0 {
			o.err = fmt.Errorf("checkpoint interval %v is not possible; 0 takes none", every)
		}
		o.settings = append(o.settings, setting{keyCheckpointInterval, formatDuration(every)})
	}}
}

// Set gives the job a setting of its own for a configuration key. What the user
// types at submission (-D key=value) counts more; see Env.Set for the opposite.
func Set(key, value string) Option {
	return optionFunc{optSetting, func(o *options) { o.settings = append(o.settings, setting{key, value}) }}
}

// Names of options in error messages, and groups of what is allowed where.
const (
	optNamed       = "Named"
	optParallelism = "Parallelism"
	optAtEnd       = "AtEnd"
	optIdleness    = "Idleness"
	optMaxAhead    = "MaxAhead"
	optAlignTime   = "AlignTime"
	optDeadLetters = "DeadLetters"
	optMerge       = "Merge"
	optDirect      = "NoPreAggregation"
	optSetting     = "Checkpoint or Set"
	optReplaced    = "Replaced"
)

// collect adds opts up; an option whose name is not allowed is an error.
func collect(opts []Option, what string, allowed ...string) (options, error) {
	var o options
	for _, opt := range opts {
		if opt == nil {
			return o, fmt.Errorf("%s is given a nil option", what)
		}
		opt.apply(&o)
		if o.err != nil {
			return o, fmt.Errorf("%s: %w", what, o.err)
		}
	}
	for _, name := range o.used {
		ok := false
		for _, a := range allowed {
			ok = ok || a == name
		}
		if !ok {
			return o, fmt.Errorf("%s is given weir.%s, which does nothing there", what, name)
		}
	}
	return o, nil
}

// formatDuration writes d as configuration does: a number and "ms" where it is
// whole, else Go's form.
func formatDuration(d time.Duration) string {
	if d%time.Millisecond == 0 {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return d.String()
}
