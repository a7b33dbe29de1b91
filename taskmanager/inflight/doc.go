// Package inflight keeps the records that an unaligned checkpoint found in flight: the
// format of their pieces, writing them for a checkpoint, and reading them back ahead of
// who takes them.
//
// It knows no edge and no record's type: that is taskmanager/exchange's.
//
// # Restoring
//
// What is restored is never in memory whole: Reader.Next gives a piece at a time, of two
// blocks of 256 KiB that are read ahead of it (a record larger than a block makes its block
// larger). Each piece's checksum is compared when it is taken. The digest of a source,
// which alone tells that the object is the right one, is known when all of it has been
// read: it is compared before the last block is handed out.
//
// A checkpoint whose barrier overtakes what has not been taken yet copies it, behind
// (Source.CopyFrom). It does not refer to the older checkpoint's object: what is queued
// behind it is written anew by every unaligned checkpoint just so, each checkpoint's
// records in flight lie in its own folder and go with it, and nothing of a foreign
// snapshot is read for longer than it takes to consume it. Until then the object is named
// in the acks as still read, or it would go with the last checkpoint that lists it. The copy reads the source from
// its beginning and compares the digest, so no checkpoint completes that follows from
// bytes that nobody has verified.
//
// Of a subtask's snapshot the records count whose keys are of its key groups. A copy may
// hold others (it is made of the old subtasks' sources, and sorts out what it can without
// user code), so whoever restores one clips it to the old subtask's groups.
//
// # Goroutines
//
// A Reader has one, from NewReader to Close; it calls wake. Everything else runs in the
// caller's. Next and the Reader's other methods belong to one goroutine, the subtask's.
//
// Read piece.go, then source.go, reader.go and writer.go; move.go is for records of an older
// type.
package inflight
