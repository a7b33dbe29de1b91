package weirtest

import (
	"cmp"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/client/api"
	"github.com/weirstream/weir/internal/replace"
)

// Option says how Run runs a job.
type Option interface{ apply(*setup) }

type optionFunc func(*setup)

func (f optionFunc) apply(s *setup) { f(s) }

// setup is what the options add up to.
type setup struct {
	t            testing.TB
	taskManagers int
	slots        int // of each; 0 = as defaultSlots says
	settings     map[string]string
	args         []string
	env          map[string]string
	options      []weir.Option
	set          replace.Set
	captures     map[string]capture
	from         *Savepoint // to start from, or nil
	allow        bool       // AllowNonRestored
	mapped       map[string]string
}

// capture is a captured sink whatever its records are.
type capture interface {
	count() int
	commit(number uint64) error
	deliver()
	follows(other capture)
	begins(foreign bool)
	number() uint64
	before() map[uint64]capture
}

// Defaults of a job under test. They are those of a cluster: what the program or a
// Setting says counts more, apart from the checkpoint interval.
const (
	// defaultParallelism makes hash edges cross subtasks, and TaskManagers if there are
	// several.
	defaultParallelism = "2"
	// defaultInterval has a test of a few checkpoints end soon; it counts more than the
	// program's own, which is chosen for production.
	defaultInterval = "20 ms"
	// defaultBackoff is the delay before a failed job starts again.
	defaultBackoff = "10 ms"

	keyInterval    = "execution.checkpointing.interval"
	keyParallelism = "parallelism.default"
	keyBackoff     = "restart-strategy.exponential-delay.initial-backoff"
)

func newSetup(t testing.TB, opts []Option) *setup {
	t.Helper()
	s := &setup{
		t: t, taskManagers: 1, settings: map[string]string{keyInterval: defaultInterval}, env: map[string]string{},
		set: replace.Set{Sources: map[string]any{}, Sinks: map[string]any{}}, captures: map[string]capture{}, mapped: map[string]string{},
	}
	for _, o := range opts {
		o.apply(s)
	}
	if s.from != nil {
		for _, c := range s.captures {
			c.begins(s.from.foreign)
		}
		for uid, before := range s.from.captures {
			for now, c := range s.captures {
				if now == uid || s.mapped[uid] == now {
					c.follows(before)
				}
			}
		}
	}
	return s
}

// restore is what the job starts from, as a submission says it.
func (s *setup) restore() api.Restore {
	if s.from == nil {
		return api.Restore{}
	}
	return api.Restore{Path: s.from.Path, AllowNonRestored: s.allow, MapUIDs: s.mapped}
}

// defaultSlots is how many slots each TaskManager gets for a job that needs so many:
// with one TaskManager lost the others still have enough.
func (s *setup) defaultSlots(needed int) int {
	rest := max(1, s.taskManagers-1)
	return cmp.Or(s.slots, (needed+rest-1)/rest)
}

// TaskManagers sets how many TaskManagers the cluster has at first; the default is 1.
func TaskManagers(n int) Option {
	return optionFunc(func(s *setup) {
		if n < 1 {
			s.t.Fatalf("weirtest.TaskManagers(%d): a cluster has at least one", n)
		}
		s.taskManagers = n
	})
}

// Slots sets the slots of each TaskManager. By default they are as many as the job
// needs when one of several TaskManagers is lost.
func Slots(n int) Option {
	return optionFunc(func(s *setup) {
		if n < 1 {
			s.t.Fatalf("weirtest.Slots(%d): a TaskManager has at least one", n)
		}
		s.slots = n
	})
}

// Setting sets a configuration key of the job, as -D does. Unless it is set, a
// checkpoint is taken every 20 ms, whatever the program says.
func Setting(key, value string) Option {
	return optionFunc(func(s *setup) { s.settings[key] = value })
}

// Args sets the arguments of the program; the default is none.
func Args(args ...string) Option { return optionFunc(func(s *setup) { s.args = args }) }

// Environ sets an environment variable that the program asks for with Env.Param.
// Others are empty: the test's own environment does not count.
func Environ(name, value string) Option {
	return optionFunc(func(s *setup) { s.env[name] = value })
}

// Options gives the job options, those that the program gives weir.Main.
func Options(opts ...weir.Option) Option {
	return optionFunc(func(s *setup) { s.options = append(s.options, opts...) })
}

// Replace has the source uid bring these records, in this order, instead of its own,
// and then end. One of its subtasks reads them all.
func Replace[T any](uid string, records ...T) Option {
	return optionFunc(func(s *setup) {
		f := NewFeed(s.t, records...)
		f.End()
		ReplaceSource(uid, f).apply(s)
	})
}

// ReplaceSource puts src in the place of the source uid: a Feed, or a generator with
// a rate.
func ReplaceSource[T any](uid string, src weir.Source[T]) Option {
	return optionFunc(func(s *setup) {
		if s.set.Sources[uid] != nil {
			s.t.Fatalf("weirtest: source %q is replaced twice", uid)
		}
		s.set.Sources[uid] = src
	})
}

// Capture puts a sink in the place of the sink uid that keeps what the job commits,
// each record exactly once, also over failures. When the job has ended, into holds
// it: in order for each subtask of the sink, those of several mixed. The sink of
// Print has the uid of its producer and "-print".
func Capture[T any](uid string, into *[]T) Option {
	return optionFunc(func(s *setup) {
		if s.set.Sinks[uid] != nil {
			s.t.Fatalf("weirtest: sink %q is captured twice", uid)
		}
		c := newCaptured(into)
		s.set.Sinks[uid] = c
		s.captures[uid] = c
	})
}

// From starts the job from a savepoint, or a retained checkpoint, of another one: of the
// same program, or of another version of it. Its captured sinks go on exactly once: what
// the savepoint covers is delivered to the slices of the job that wrote it.
func From(s *Savepoint) Option {
	return optionFunc(func(set *setup) {
		if s == nil {
			set.t.Fatal("weirtest.From(nil): there is no savepoint")
		}
		set.from = s
	})
}

// AllowNonRestored drops state of the savepoint that the program does not have; otherwise
// it is refused.
func AllowNonRestored() Option { return optionFunc(func(s *setup) { s.allow = true }) }

// MapUID gives the state of operator old to operator now.
func MapUID(old, now string) Option { return optionFunc(func(s *setup) { s.mapped[old] = now }) }
