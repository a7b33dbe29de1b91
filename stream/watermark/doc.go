// Package watermark merges the event time of several inputs into one: of the channels of
// a subtask, or of the splits that a source reader reads.
//
// A watermark of time t promises that no record with a time of t or earlier follows.
// The merged one is the least of the inputs that count; it never goes back, whatever
// comes and goes. An idle input does not count until it is told active again, and then
// only once it has caught up with the merged watermark: its first records are late
// anyway, and must not hold everybody else back. When all are idle, the merged one is the
// greatest of theirs, and it is idle itself. An input that has ended never counts again;
// when all have, time is at its end (Max).
//
// It is pure: no clock, no goroutine, no I/O. Whoever owns a Merger calls it from one
// goroutine.
package watermark
