// Package run writes, reads, clips and merges sorted runs.
//
// A run is one delta of a keyed subtask: a sequence of disjoint SSTables in key
// order, made by Writer, with at most one version of a key. An entry sets a key,
// deletes it (a tombstone), adds elements to its list (an operand), or clears a range of
// keys. A range clear hides only what is in older runs: the points of its own run lie
// above it. A list of runs, oldest first, is a snapshot; a newer run shadows an older one,
// and its operands come behind what that says. The format is in format.go.
//
// Of a listed Run the groups First to Last are visible, which may be fewer than its
// files hold: that is how a rescaled subtask refers to a part of somebody's run. All
// readers of this package keep to it.
//
// What is checked when: Open (which NewIter does for each file it comes to) compares
// the size, the digest of the tail (index, range clears, properties, footer) and the
// run's id and file number in the properties, so that a swapped file is found; each
// block's checksum is compared when it is read; Verify compares the digest of the
// whole file. What fails is a *CorruptError (errors.Is ErrCorrupt); errors of the
// store below are passed on unmarked, so that an unreadable disk is not taken for
// a damaged snapshot. Panics of the table reader become a *CorruptError.
//
// Only this package imports Pebble's sstable package. It uses no block cache, knows
// no clock and no schema, and never decides which runs to keep. It starts no
// goroutine of its own (each open SSTable that is being written has one of
// Pebble's, which ends with Finish or Abort). A Writer and an Iter belong to one
// goroutine.
//
// Invariants: A1 (the run list is the truth; a rebase merges adjacent runs), I3
// (durable before it is acknowledged), I12 (one name, one content), I17.
//
// Read format.go first, then run.go, writer.go, table.go, operand.go and merge.go;
// what a value is made of stands in package envelope.
package run
