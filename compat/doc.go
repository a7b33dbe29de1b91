// Package compat says whether a program can be started from a snapshot, before anything
// is started or stopped: which operator and state of the program takes which of the
// snapshot's, what is dropped, new or migrated, and what can't be.
//
// Check is a pure function of two things that exist without a cluster: the snapshot's
// _metadata, which holds the schema of every state, and the program's plan, which holds
// those that the program declares, laid out at some parallelism. No state is read. `weir check`, the JobManager at a
// submission and tests of users give the same answer, because it is the same function.
//
// The rules are those of packages coordinator/restore (what goes where) and codec (what
// becomes of values): keys never change, kinds of state never change, layouts evolve by
// the names of fields and by the versions of named types.
//
// It does no I/O and starts no goroutine. Read report.go, then check.go.
package compat
