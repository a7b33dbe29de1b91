// Package requests is the machine of asynchronous operators: it asks other systems about
// records, many at a time, and hands results on in the order that the stream allows.
//
// A record waits in one queue, in the order in which it came, with what is told of event
// time in its place. Ordered, results leave at the front of the queue alone. Unordered, they
// leave as they come, from before the first watermark in the queue: none goes
// before a watermark that came earlier than its record, or behind a later one.
//
// Each request runs in a goroutine of its own, no more than the capacity at once. What has come
// back is left for the loop under a mutex, and the loop is woken. Everything else belongs to
// the goroutine of the subtask.
//
// At a checkpoint the records that wait are its state (a split list). They are asked about
// again after a restore: what is asked must bear to be asked twice. The watermark of the operator in
// the snapshot is that which its consumers were told.
//
// It never retries what the attempt's end has cut off, and never blocks the loop. Invariant: I9
// (the watermark never goes back, and no record goes behind one).
//
// Read requests.go, then ask.go.
package requests
