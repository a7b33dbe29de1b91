package run

// Operands: an append to a list that is not in memory, or of which a run holds the most,
// is written as an entry of kind MERGE with the new elements only. What a key's entries
// make, newest run first, is
//
//   - all MERGE down to the oldest run: a list of their elements, oldest first, a SET. If
//     older runs are left out, as when adjacent ones are merged, it stays a MERGE.
//   - MERGE over a SET: a SET, the operands' elements behind the older ones.
//   - MERGE over a DELETE or a range clear: a SET of the operands alone. It hides what is
//     older as the DELETE did.
//   - a SET, DELETE or range clear over a MERGE: the MERGE is gone.
//
// envelope.Join joins them.

// MergerName is the merger that the files name, and whoever reads them must: Pebble takes
// no file that names another. It is the default's name because that is in files of version
// 1, which are to be read beside those of version 2.
const MergerName = "pebble.concatenate"
