// Package lint holds the rules of the house as tests: who may import whom, what pure
// packages may touch, how long a function may be, how packages are named and
// documented, that generated code is current and documents name things that exist.
//
// It parses the tree and never builds or type-checks it, so it stays fast and works
// while some package does not compile. Rules bind: an exception is a line in a table,
// with its reason. Nothing imports this package.
//
// Read deps_test.go for the imports, size_test.go for the limits. The walk over the
// tree is tree.go, the syntax of the import rules dag.go.
package lint
