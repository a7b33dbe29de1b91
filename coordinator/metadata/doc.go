// Package metadata is the file format of _metadata, by which a checkpoint or
// savepoint is read: metapb.CheckpointMetadata in a frame that finds every
// truncation and every flipped bit.
//
// Encode and Decode refuse the same things (see Validate): names that leave the
// checkpoint's folder, an operator or state twice, key-group ranges that overlap or
// are inverted, a version that this program does not know. A file that decodes can
// be worked with without further checks of its form; whether its objects exist and
// have their digests is found out when they are opened.
//
// Pure: no I/O, no goroutines. Allocation is bounded by the length of the input.
// Invariants: I3 (a pointer names a complete object), I15 and I20 rest on it.
//
// Read format.go first.
package metadata
