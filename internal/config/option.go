package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scope says whose setting it is.
type Scope uint8

// Scopes.
const (
	// Cluster settings are read when a JobManager or TaskManager starts.
	Cluster Scope = iota + 1
	// Job settings can differ between jobs; in the cluster's configuration they stand
	// for all jobs that say nothing else.
	Job
)

// String is the scope's name in the documentation.
func (s Scope) String() string {
	switch s {
	case Cluster:
		return "cluster"
	case Job:
		return "job"
	}
	return fmt.Sprintf("scope-%d", uint8(s))
}

// Option is one entry of the registry. Immutable.
type Option struct {
	Key     string
	Scope   Scope
	Type    string   // what values look like: "duration", "int", "a|b"
	Default string   // canonical; "" = none, see Doc
	Doc     string   // one line
	Aliases []string // older names, accepted with a notice

	// canonical checks a value and returns its one written form.
	canonical func(string) (string, error)
}

// EnvName is the environment variable that sets the option.
func (o *Option) EnvName() string { return envName(o.Key) }

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// Key is an option whose values have the Go type T.
type Key[T any] struct {
	*Option
	parse func(string) (T, error)
}

// Parse reads a value of the option.
func (k Key[T]) Parse(value string) (T, error) {
	v, err := k.parse(value)
	if err != nil {
		return v, valueError(k.Option, value, err)
	}
	return v, nil
}

func valueError(o *Option, value string, err error) error {
	return fmt.Errorf("%s: value %q: %w; wanted: %s", o.Key, value, err, wanted(o))
}

// wanted describes the values of o.
func wanted(o *Option) string {
	switch o.Type {
	case typeDuration:
		return `a duration such as "10 s", "500 ms" or "1min"`
	case typeMemory:
		return `a size such as "512m" or "1gb"`
	case typeFolder:
		return "an absolute path or file:///…"
	case typeInt:
		return "a whole number"
	case typeFloat:
		return "a number"
	case typeBool:
		return "true or false"
	}
	if strings.Contains(o.Type, "|") {
		return "one of " + strings.ReplaceAll(o.Type, "|", ", ")
	}
	return o.Type
}

// registry is filled by the variables of keys.go.
var registry = map[string]*Option{}

// aliases leads from an older name to the option.
var aliases = map[string]*Option{}

func register(o *Option) {
	for _, name := range append([]string{o.Key}, o.Aliases...) {
		if registry[name] != nil || aliases[name] != nil {
			panic("weir: BUG: setting " + name + " is declared twice")
		}
	}
	registry[o.Key] = o
	for _, a := range o.Aliases {
		aliases[a] = o
	}
	if o.Default != "" {
		d, err := o.canonical(o.Default)
		if err != nil {
			panic(fmt.Sprintf("weir: BUG: default of %s: %v", o.Key, err))
		}
		o.Default = d
	}
}

// Options returns all settings, by key.
func Options() []*Option {
	return slices.SortedFunc(maps.Values(registry), func(a, b *Option) int { return strings.Compare(a.Key, b.Key) })
}

// Lookup finds an option by its name or an alias. notice is a line for the user if the
// name is an older one. The error says what is wrong with key and which name is near.
func Lookup(key string) (o *Option, notice string, err error) {
	if o := registry[key]; o != nil {
		return o, "", nil
	}
	if o := aliases[key]; o != nil {
		return o, fmt.Sprintf("setting %s is called %s now", key, o.Key), nil
	}
	if instead := foreign(key); instead != "" {
		return nil, "", fmt.Errorf("setting %s has no meaning in Weir: %s", key, instead)
	}
	if near := nearest(key); near != "" {
		return nil, "", fmt.Errorf("unknown setting %q; did you mean %s?", key, near)
	}
	return nil, "", fmt.Errorf("unknown setting %q; `weir config list` lists all", key)
}

// nearest is the name most like key, "" if none is alike.
func nearest(key string) string {
	return Nearest(key, append(slices.Collect(maps.Keys(registry)), slices.Collect(maps.Keys(aliases))...))
}

// Nearest is the name most like word, "" if none is alike: at most a third of its
// characters differ. A name that word is the last part of counts as alike.
func Nearest(word string, names []string) string {
	names = slices.Sorted(slices.Values(names))
	best, near := max(2, len(word)/3)+1, ""
	for _, n := range names {
		if d := Distance(strings.ToLower(word), strings.ToLower(n)); d < best {
			best, near = d, n
		}
	}
	if near != "" || len(word) < 4 {
		return near
	}
	for _, n := range names {
		if strings.HasSuffix(n, "."+word) {
			return n
		}
	}
	return ""
}

// Distance is Levenshtein's, in bytes.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Explain describes a setting in a few lines.
func Explain(key string) (string, error) {
	o, notice, err := Lookup(key)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if notice != "" {
		fmt.Fprintf(&b, "%s\n", notice)
	}
	def := o.Default
	if def == "" {
		def = "none"
	}
	fmt.Fprintf(&b, "%s\n  %s\n  type:        %s\n  default:     %s\n  scope:       %s\n  environment: %s\n",
		o.Key, o.Doc, o.Type, def, o.Scope, o.EnvName())
	if len(o.Aliases) > 0 {
		fmt.Fprintf(&b, "  older names: %s\n", strings.Join(o.Aliases, ", "))
	}
	return b.String(), nil
}

// Types of values.
const (
	typeDuration = "duration"
	typeMemory   = "memory"
	typeInt      = "int"
	typeFloat    = "float"
	typeBool     = "bool"
	typeString   = "string"
	typeFolder   = "folder"
	typeList     = "list, separated by commas"
)

func newKey[T any](o *Option, parse func(string) (T, error), format func(T) string) Key[T] {
	o.canonical = func(s string) (string, error) {
		v, err := parse(s)
		if err != nil {
			return "", err
		}
		return format(v), nil
	}
	register(o)
	return Key[T]{o, parse}
}

func durationKey(key, def string, scope Scope, doc string, old ...string) Key[time.Duration] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeDuration, Default: def, Doc: doc, Aliases: old},
		ParseDuration, FormatDuration)
}

func memoryKey(key, def string, scope Scope, doc string, old ...string) Key[int64] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeMemory, Default: def, Doc: doc, Aliases: old}, ParseMemory, FormatMemory)
}

func intKey(key, def string, least, most int, scope Scope, doc string, old ...string) Key[int] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeInt, Default: def, Doc: doc, Aliases: old},
		func(s string) (int, error) { return parseInt(s, least, most) }, strconv.Itoa)
}

func floatKey(key, def string, least float64, scope Scope, doc string) Key[float64] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeFloat, Default: def, Doc: doc},
		func(s string) (float64, error) { return parseFloat(s, least) },
		func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
}

func stringKey(key, def string, scope Scope, doc string, old ...string) Key[string] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeString, Default: def, Doc: doc, Aliases: old}, parseString, identity)
}

func folderKey(key, def string, scope Scope, doc string, old ...string) Key[string] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeFolder, Default: def, Doc: doc, Aliases: old}, parseFolder, identity)
}

func listKey(key, def string, scope Scope, doc string) Key[[]string] {
	return newKey(&Option{Key: key, Scope: scope, Type: typeList, Default: def, Doc: doc}, parseList,
		func(l []string) string { return strings.Join(l, ",") })
}

// enumKey takes one of values, whatever the case. other leads from a word of Flink's to
// one of values, or, after "!", to the reason why it is refused.
func enumKey(key string, values []string, other map[string]string, scope Scope, doc string, old ...string) Key[string] {
	return newKey(&Option{
		Key: key, Scope: scope, Type: strings.Join(values, "|"), Default: values[0], Doc: doc, Aliases: old,
	}, func(s string) (string, error) { return parseEnum(s, values, other) }, identity)
}

func identity(s string) string { return s }
