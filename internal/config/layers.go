package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
)

// Layer is a source of settings. Its values are as they were written; Resolve checks
// them.
type Layer struct {
	Origin string // "flag", "environment", "file conf.yaml"
	Values map[string]string
	// Where names what was typed for a key, for messages, if it was not the key itself.
	Where map[string]string
}

func newLayer(origin string) Layer {
	return Layer{origin, map[string]string{}, map[string]string{}}
}

// Set adds a value that was given by a flag of its own (--slots).
func (l Layer) Set(key, value, flag string) {
	l.Values[key] = value
	l.Where[key] = flag
}

// Flags is the layer of the command line: pairs are the arguments of -D.
func Flags(pairs []string) (Layer, error) {
	l := newLayer("flag")
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok || key == "":
			return l, fmt.Errorf("-D %s is not of the form key=value", p)
		case hasOther(l.Values, key, value):
			return l, fmt.Errorf("-D %s is given twice, as %q and %q", key, l.Values[key], value)
		}
		l.Set(key, value, "-D "+key)
	}
	return l, nil
}

func hasOther(m map[string]string, key, value string) bool {
	v, ok := m[key]
	return ok && v != value
}

const envPrefix = "WEIR_"

// notSettings are variables that begin like settings and are something else: by name,
// or by prefix if they end in an underscore.
var notSettings = []string{
	"WEIR_PLAN", "WEIR_WORKER", "WEIR_WORKER_", // between weir and job binaries
	"WEIR_JOBMANAGER", "WEIR_TOKEN", "WEIR_CONFIG", // of the command line
	"WEIR_LOG", // of local mode
	"WEIR_TEST_", "WEIR_DEMO_",
}

// Environ is the layer of the environment, given as by os.Environ: WEIR_ and the key
// in upper case, its dots and dashes as underscores. An unknown name is an error: a
// setting that is misspelt would silently not count.
func Environ(environ []string) (Layer, error) {
	l := newLayer("environment")
	names := map[string]string{}
	for _, o := range registry {
		for _, key := range append([]string{o.Key}, o.Aliases...) {
			names[envName(key)] = key
		}
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.ContainsFunc(notSettings, func(n string) bool {
			return n == name || strings.HasSuffix(n, "_") && strings.HasPrefix(name, n)
		}) {
			continue
		}
		key := names[name]
		if key == "" {
			if near := Nearest(name, slices.Collect(maps.Keys(names))); near != "" {
				return l, fmt.Errorf("environment variable %s is not a setting; did you mean %s?", name, near)
			}
			return l, fmt.Errorf("environment variable %s is not a setting; `weir config list` lists all", name)
		}
		l.Set(key, value, name)
	}
	return l, nil
}

// File is the layer of a YAML file. Keys may be nested, dotted or both; a setting that
// stands in it twice is an error.
func File(path string) (Layer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Layer{}, fmt.Errorf("read configuration: %w", err)
	}
	return parseFile("file "+path, b)
}

func parseFile(origin string, b []byte) (Layer, error) {
	l := newLayer(origin)
	tree, err := yaml.Parser().Unmarshal(b)
	if err != nil {
		return l, fmt.Errorf("%s is not YAML of settings: %w", origin, err)
	}
	if err := flatten("", tree, l); err != nil {
		return l, fmt.Errorf("%s: %w", origin, err)
	}
	return l, nil
}

// flatten adds the leaves of tree to l.
func flatten(prefix string, tree map[string]any, l Layer) error {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key := prefix + name
		if m, ok := tree[name].(map[string]any); ok {
			if err := flatten(key+".", m, l); err != nil {
				return err
			}
			continue
		}
		value, err := scalar(tree[name])
		if err != nil {
			return fmt.Errorf("setting %s %w", key, err)
		}
		if _, twice := l.Values[key]; twice {
			return fmt.Errorf("setting %s stands in it twice, nested and dotted", key)
		}
		l.Set(key, value, l.Origin)
	}
	return nil
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []any:
		var parts []string
		for _, e := range v {
			s, err := scalar(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	case nil:
		return "", errors.New("has no value")
	}
	return "", fmt.Errorf("has a value of a kind that is not known (%T); put it in quotes", v)
}
