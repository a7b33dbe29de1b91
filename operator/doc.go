// Package operator is the contract between user code and the runtime: how records
// are handed on (Receiver, Collector), how an operator declares its state, timers,
// results and counters (Setup), and what sources and sinks implement.
//
// Records go from operator to operator by direct typed calls: no any, no
// reflection, no channel, no allocation. Everything untyped happens once, at link
// time.
//
// Threads: everything an operator, source reader or sink writer does is called by
// the one goroutine of its subtask (the mailbox loop of taskmanager/task). The
// only exceptions say so: Runtime.Attention may be raised from anywhere.
//
// Errors: user functions return errors. The runtime keeps the first one
// (Runtime.Fail) and looks at it before the next record; nothing is snapshotted
// after it.
//
// It never touches the network, files or the JobManager.
//
// Read record.go, then setup.go, then source.go and sink.go.
package operator
