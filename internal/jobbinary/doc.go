// Package jobbinary turns what a user names, a Go package or a binary, into a job binary
// for the cluster's machines, and asks it for its plan. What is no job is refused in one
// line that says what it is instead.
//
// It owns the temporary folder of a build, until Remove. It never speaks to a cluster and
// judges no plan. It starts processes (the go command, the program) and waits for them; no
// goroutines of its own. Errors are *exit.Error.
//
// Read program.go.
package jobbinary
