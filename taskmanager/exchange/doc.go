// Package exchange moves records and events between subtasks: it partitions what
// a subtask emits, hands it over in batches, and stops a producer that is faster
// than its consumer.
//
// It owns the channels of a job inside one worker process, the connections to the
// job's other workers, and the wire format of the data path (format.go, for ever).
// It never runs user code except an edge's Hash and Target, never looks into a
// record, never aligns barriers (taskmanager/align) and never decides about a
// failure: it reports which worker was lost.
//
// # Parts
//
// A Network is one worker's end of the data path. A Fabric is one incarnation of
// the job in it. Every pair of subtasks that an edge connects has a channel: a
// bounded queue, in order, of batches and events. Output is the producer's end of
// an edge's channels, Gate the consumer's end of all channels of a subtask.
//
// Inside a worker a channel hands over typed batches (*stream.Batch[T]); used ones
// go back to the producer. Between two workers the producer's goroutine encodes a
// batch to frames of about 32 KiB, and the consumer's goroutine decodes them in
// Poll: strings of a frame share one immutable copy, never a recycled buffer.
// There is one connection for each unordered pair of workers and incarnation; the
// worker with the smaller id dials.
//
// # Back pressure
//
// Nothing here ever blocks the caller. A channel has room for a few batches (a
// share of the worker's memory, counted in batches inside a worker and in bytes of
// credit between workers) and a reserve of one batch or frame beyond it, so a
// blocked channel can hold up no other: nothing is shared between channels. The
// hand-over that takes the last room raises Runtime.Attention; the loop then takes
// no further record until Output.Room says yes. What one call emits beyond that is
// queued all the same and counted (Stats.Overdrawn). Events need no room.
//
// # Barriers that overtake
//
// A barrier always stands in its place in the queue. One that may overtake is
// announced besides (Gate.News, Attend), and the consumer may take what is before it
// into the snapshot (Gate.BeginCapture, Capture: encoded as pieces) without having
// processed it: the records stay in the queue and are processed afterwards. Only the
// consumer captures: a producer whose channel waits for credit sends what is before
// such a barrier without (Output.Expedite, bounded by maxOverdraft). What was captured
// comes back by Gate.Restore, is read from where it is stored as it is taken
// (taskmanager/inflight), and is delivered before everything else.
//
// # Goroutines
//
// An Output belongs to its subtask's goroutine, a Gate to its own; wake functions
// are called from any goroutine and must be short, must not call back into this
// package, and must be remembered by the loop until it looks again. A Network has
// one accepting goroutine for each listener and one for each handshake; a Fabric
// has a reading and a writing goroutine for each connection; a Gate that restores has one
// that reads ahead. All of them have returned when Close returns.
//
// Lock order: Fabric.mu, Gate.mu, remoteLane.mu, peer.mu; wake functions are called
// with none held.
//
// Invariants: a channel delivers what was handed over in order, once, or the fabric
// fails naming the peer (the channel's part of I9); nothing of another incarnation
// or of another secret reaches a gate; a batch has one owner at a time
// (stream.Batch).
//
// Connections prove that both ends know the job's secret, and check frames for
// damage, not for forgery: a network that is not trusted needs TLS, which
// NetworkOptions.Listen and Dial can bring.
//
// Read edge.go first, then output.go, sender.go and gate.go; then format.go, lane.go
// and peer.go; then capture.go, restored.go and pieces.go.
package exchange
