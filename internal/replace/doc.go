// Package replace is how weirtest puts sources and sinks of a test in the place of a
// program's own. It owns the one type that both sides know, Set, so that package weir
// need not offer it to everyone. It never runs anything and holds no state. Read
// doc.go; weir's replace.go uses it.
package replace

// Set says what stands in for what, by uid. The values are the sources and sinks of
// package operator; of which type of records, only weir's generic methods can check.
type Set struct {
	Sources map[string]any // operator.Source[T]
	Sinks   map[string]any // operator.Sink[T]
}
