// Package jobtest runs a planned job inside a test, with real tasks, exchange, state
// and snapshots, and nothing around them: no JobManager, no processes, no clock.
// It takes checkpoints one after the other as fast as they complete, and can give
// all tasks up after one of them and restore it at another parallelism.
//
// It is for the tests of packages weir and bench. Jobs of users are tested with
// package weirtest.
//
// Goroutines: one for each subtask attempt; all have returned when Run returns.
// Read run.go.
package jobtest
