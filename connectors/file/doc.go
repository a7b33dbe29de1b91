// Package file reads lines of text files and writes files exactly once.
//
//	env.From("lines", file.Lines("/logs/**/*.log")).
//		…
//		To("counts", file.Sink("/counts", appendCount))
//
// # Source
//
// Lines finds files once, when the job first starts, and cuts large ones into ranges
// of bytes, so that readers share them. A line belongs to the range that its first
// byte lies in; that is why a reader whose range begins inside a line skips it, and
// reads the last one beyond the range's end. Lines have no length limit and their
// bytes are not looked at: strings may hold invalid UTF-8 and "\r". What is appended to
// a file after it was listed is not read; a file that vanished or got shorter fails
// the job, by its name.
//
// The hidden enumerator hands out splits, each some ranges of bytes; what it has not
// handed out is its state, and what a reader has not finished is the reader's. So each
// line is read once at each cut, whatever the parallelism after a restore.
//
// # Sink
//
// A file is in progress (written to), pending (closed and durable, and named in the
// state of the sink), and finished: renamed when a checkpoint that names it has
// completed. Until then its name begins with a dot. A name holds uid, job, incarnation,
// subtask and number (name.go) and is never used twice, so attempts that have died
// can't disturb later ones. The folder must be the same for all TaskManagers.
//
// The pending files of all subtasks are restored to each of them (union state), and
// subtask 0 publishes them: so none is forgotten when the parallelism shrinks. It alone
// removes what older incarnations of the same job and sink have left behind.
//
// The package starts no goroutine and knows nothing of the runtime beyond package
// operator. It holds invariants I22 (a split is in one place at each cut), I24 (only
// what a completed checkpoint names is published; twice is once) and I26 (the sweep
// touches only its own).
//
// Layouts that are persisted are in split.go (source) and pending (sink.go). Read
// source.go, enumerator.go and reader.go; then sink.go and publish.go.
package file
