package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
)

// OriginDefault is the origin of values that nobody set.
const OriginDefault = "default"

// Effective is what layers add up to: a value for every setting that has one.
// Immutable.
type Effective struct {
	values  map[string]Value // by key
	Notices []string         // older names that were used, a line each
}

// Value is a setting in effect.
type Value struct {
	Option *Option
	Value  string // canonical
	Origin string // of the layer it is from, or OriginDefault
}

// Resolve puts layers together, the strongest first, above the defaults. Every mistake
// is reported, of the weaker layers too.
func Resolve(layers ...Layer) (*Effective, error) {
	e := &Effective{values: map[string]Value{}}
	var mistakes []error
	for _, l := range layers {
		mistakes = append(mistakes, e.add(l))
	}
	for _, o := range registry {
		if _, set := e.values[o.Key]; !set && o.Default != "" {
			e.values[o.Key] = Value{o, o.Default, OriginDefault}
		}
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return e, e.check()
}

// add puts the values of l below those that are there.
func (e *Effective) add(l Layer) error {
	var mistakes []error
	own := map[string]string{} // by key, the name it was given by in this layer
	for _, name := range slices.Sorted(maps.Keys(l.Values)) {
		where := ""
		if w := l.Where[name]; w != "" && !strings.HasPrefix(w, "-D ") {
			where = w + ": "
		}
		o, notice, err := Lookup(name)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s%w", where, err))
			continue
		}
		value, err := o.canonical(l.Values[name])
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s%w", where, valueError(o, l.Values[name], err)))
			continue
		}
		if notice != "" {
			e.Notices = append(e.Notices, where+notice)
		}
		if other := own[o.Key]; other != "" {
			mistakes = append(mistakes, fmt.Errorf("%s%s and %s are the same setting; give one", where, other, name))
			continue
		}
		own[o.Key] = name
		if _, stronger := e.values[o.Key]; !stronger {
			e.values[o.Key] = Value{o, value, l.Origin}
		}
	}
	return errors.Join(mistakes...)
}

// mostInline is the largest execution.checkpointing.data-inline-threshold in bytes, as in Flink.
const mostInline = 1 << 20

// mostState is the largest execution.checkpointing.jobmanager-storage.max-state-size in bytes.
const mostState = 64 << 20

// check holds the relations between settings.
func (e *Effective) check() error {
	if first, most := e.Get(RestartInitial), e.Get(RestartMost); first > most {
		return fmt.Errorf("%s (%s) is longer than %s (%s)", RestartInitial.Key, FormatDuration(first), RestartMost.Key, FormatDuration(most))
	}
	if every, lost := e.Get(HeartbeatInterval), e.Get(HeartbeatTimeout); every <= 0 || lost < 2*every {
		return fmt.Errorf("%s (%s) must be at least twice %s (%s), and that more than 0",
			HeartbeatTimeout.Key, FormatDuration(lost), HeartbeatInterval.Key, FormatDuration(every))
	}
	if n := e.Get(CheckpointInline); n > mostInline {
		return fmt.Errorf("%s (%s) is more than %s: the _metadata must stay small", CheckpointInline.Key, FormatMemory(n), FormatMemory(mostInline))
	}
	if n := e.Get(MaxStateSize); n < 1 || n > mostState {
		return fmt.Errorf("%s (%s) must be between 1b and %s: the JobManager holds it all", MaxStateSize.Key, FormatMemory(n), FormatMemory(mostState))
	}
	if e.Get(CheckpointTimeout) == 0 {
		return fmt.Errorf("%s is 0: no checkpoint would ever complete", CheckpointTimeout.Key)
	}
	return nil
}

// Get returns the value of a setting, the zero value of its type if it has none.
func (e *Effective) Get[T any](k Key[T]) T {
	v, ok := e.values[k.Key]
	if !ok {
		var zero T
		return zero
	}
	t, err := k.parse(v.Value)
	if err != nil {
		panic(fmt.Sprintf("weir: BUG: checked value %q of %s: %v", v.Value, k.Key, err))
	}
	return t
}

// Origin says where the value of a setting is from, "" if it has none.
func (e *Effective) Origin(key string) string { return e.values[key].Origin }

// Settings returns what is in effect, by key.
func (e *Effective) Settings() []Value {
	return slices.SortedFunc(maps.Values(e.values), func(a, b Value) int { return strings.Compare(a.Option.Key, b.Option.Key) })
}

// Given returns the canonical values that are not defaults.
func (e *Effective) Given() map[string]string {
	m := map[string]string{}
	for k, v := range e.values {
		if v.Origin != OriginDefault {
			m[k] = v.Value
		}
	}
	return m
}

// ResolveJob puts the settings of a job together: what its program fixed
// (Plan.config), above typed (-D and -p), above the program's defaults
// (Plan.defaults), above the cluster's configuration, above the defaults. A setting of
// the cluster that a program or submission tries to set is an error.
func ResolveJob(plan *metapb.Plan, typed map[string]string, cluster *Effective) (*Effective, error) {
	layers := []Layer{
		planLayer("program", plan.Config),
		{Origin: "submission", Values: typed},
		planLayer("program's default", plan.Defaults),
	}
	var mistakes []error
	for _, l := range layers {
		for key := range l.Values {
			mistakes = append(mistakes, jobKey(key))
		}
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	for _, v := range cluster.Settings() {
		if v.Option.Scope == Job && v.Origin != OriginDefault {
			layers = append(layers, Layer{Origin: "cluster, " + v.Origin, Values: map[string]string{v.Option.Key: v.Value}})
		}
	}
	return Resolve(layers...)
}

// CheckTyped checks settings that a user types at submission (-D), and returns them
// under their own names in their canonical form.
func CheckTyped(l Layer) (typed map[string]string, notices []string, err error) {
	var mistakes []error
	for key := range l.Values {
		mistakes = append(mistakes, jobKey(key))
	}
	e, err := Resolve(l)
	if err := errors.Join(append(mistakes, err)...); err != nil {
		return nil, nil, err
	}
	return e.Given(), e.Notices, nil
}

// jobKey refuses settings of the cluster; unknown ones are Resolve's to refuse.
func jobKey(key string) error {
	if o, _, err := Lookup(key); err == nil && o.Scope != Job {
		return fmt.Errorf("setting %s is the cluster's, not a job's: set it where JobManager and TaskManagers are started", key)
	}
	return nil
}

func planLayer(origin string, settings []*metapb.Setting) Layer {
	l := newLayer(origin)
	for _, s := range settings {
		l.Set(s.Key, s.Value, "set by the "+origin)
	}
	return l
}

// JobConfig is what a JobMaster and its workers need of a job's settings.
type JobConfig struct {
	Checkpoints Checkpoints
	Restart     job.RestartPolicy
	Backend     string // "heap" or "pebble"
	Parallelism int
}

// Job returns the settings of a job as values.
func (e *Effective) Job() JobConfig {
	policy := job.RestartPolicy{
		Initial: e.Get(RestartInitial), Most: e.Get(RestartMost),
		Multiplier: e.Get(RestartMultiplier), ResetAfter: e.Get(RestartReset),
		Delay: e.Get(RestartDelay), Attempts: e.Get(RestartAttempts),
	}
	for _, k := range []job.RestartKind{job.ExponentialDelay, job.FixedDelay, job.FailureRate, job.NoRestart} {
		if k.String() == e.Get(RestartType) {
			policy.Kind = k
		}
	}
	if policy.Kind == job.FailureRate {
		policy.Delay, policy.Failures, policy.Interval = e.Get(RestartRateDelay), e.Get(RestartFailures), e.Get(RestartInterval)
	}
	return JobConfig{
		Checkpoints: e.checkpoints(), Restart: policy,
		Backend: e.Get(Backend), Parallelism: e.Get(Parallelism),
	}
}

// JobSettings returns the settings that a job is run with, defaults included, sorted
// by key: what stands in its record and what workers are given.
func (e *Effective) JobSettings() []*metapb.Setting {
	var all []*metapb.Setting
	for _, v := range e.Settings() {
		if v.Option.Scope == Job {
			all = append(all, &metapb.Setting{Key: v.Option.Key, Value: v.Value})
		}
	}
	return all
}

// OfSettings reads what JobSettings wrote, of this version or another one: keys that
// are not known any more are passed over.
func OfSettings(settings []*metapb.Setting) (JobConfig, error) {
	l := newLayer("job's record")
	for _, s := range settings {
		if _, _, err := Lookup(s.Key); err == nil {
			l.Set(s.Key, s.Value, "job's record")
		}
	}
	e, err := Resolve(l)
	if err != nil {
		return JobConfig{}, err
	}
	return e.Job(), nil
}
