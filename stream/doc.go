// Package stream says what flows through a job: batches of records, the events
// between them (barriers, end of input, watermarks), and the key groups that
// decide where a keyed record goes.
//
// It owns the numbers that are persisted for ever: 65,536 key groups, a key's
// group = the top 16 bits of the xxh3-64 hash (seed 0) of its encoded key, and
// the split of the groups into contiguous ranges, one a subtask.
//
// It never does I/O, starts no goroutine and knows no operator. Everything here
// is a value; a Batch has exactly one owner at a time (see Batch).
//
// Read keygroup.go first, then event.go, then batch.go.
package stream
