// Package joining joins two keyed streams by event time: it keeps what records of the
// other stream may still come for, and forgets it as the watermark passes. Joins in
// windows are those of operator/windowing; methods of package weir declare all of them.
//
//   - Interval: a record meets those of the other stream with its key whose time lies in an
//     interval around its own.
//   - Temporal: a record meets the version of its key that was valid at its time.
//
// Both are operators on two keyed streams. A result has the later of its records' times,
// which is ahead of the watermark; one of a record that met nothing has the time at which
// that is certain. Records that come behind the watermark (stream.time <= watermark) are
// late: they are dropped and counted, or go to a side output; but a late version is taken
// in, for what comes after it.
//
// # State
//
// All is keyed state, so incremental, and rescaled with the keys. Of Interval:
//
//	weir.left.W     map from the start of a bucket of W ms to the left records in it (Kept),
//	                in the order in which they came
//	weir.right.W    likewise
//
// W is a power of two, at least the length of the interval and 128 ms: so a record looks into
// two buckets at most. It is part of the name because buckets of another width
// can't be read as these: a program with an interval that asks for one is refused to go on
// from a snapshot, instead of missing records.
//
// Of Temporal:
//
//	weir.pending    map from a time to the records of that time that wait for the watermark
//	weir.versions   map from a time to the version that is valid from then on, for times that
//	                the watermark has not reached
//	weir.current    the newest version that it has reached (Version)
//
// Timers of event time are what forgets: one for each bucket, and one for each pending time
// and version. An outer join has one more for each left record that has met nothing.
//
// Invariants: what is kept can still meet a record that is not late; a bucket that is kept
// has a timer; of a key's versions that the watermark has passed only the newest is left.
//
// No goroutine, no I/O, no clock: everything is called by the subtask's loop. Nothing is
// allocated for a record but what decoding one with pointers needs.
//
// Read interval.go first, then buckets.go, then temporal.go.
package joining
