// Package config owns every setting of Weir: its name, type, default, one line of
// documentation and scope. Names are those of Flink 2 where the meaning is the same.
// The reference page docs/configuration.md is written from the registry, and a test
// holds that it is current.
//
// Values come in layers, the stronger first: flag, environment (WEIR_…), file, default.
// Resolve puts them together and remembers where each value is from. A job's settings
// are resolved by ResolveJob: what the program fixed, -D and -p, the program's own
// defaults, the cluster's configuration, default.
//
// Nothing is guessed: an unknown key, an ill-typed value, a key of the JVM are errors
// that say what to type instead. Package-level state is the registry alone, complete
// when the program starts and never changed. No goroutines. Only File and
// ProcessMemory look outside the process.
//
// Read keys.go, then resolve.go. The types of values are in values.go.
package config
