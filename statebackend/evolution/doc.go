// Package evolution says which schemas the values of a subtask's keyed state have, and brings
// those of older ones up to date as they are read.
//
// Runs are taken over by reference, so values of older schemas lie in them for as long
// as nobody writes their keys. Each value says by an ordinal which schema it has:
//
//   - 0 is the first schema that the state ever had. It stands for nothing else until
//     the state is gone.
//   - Ordinals from 1 are given to the schemas that came later, whichever state's, in
//     the order in which programs came with them.
//
// All subtasks of an operator give the same ones, because they start from what one
// snapshot lists; so a run's table is the beginning of every later run's, and runs are
// merged, and read through Pebble, without a look at their values. Of a list to which
// programs with several schemas have appended, each piece names its own.
//
// A Listing is made at a restore and does not change after it; a Reader belongs to one
// goroutine. The package does no I/O and keeps no value.
//
// Invariants: A8 (an ordinal, once given, means one schema), A10 (values carry what is
// needed to read them), I17 (restore ∘ snapshot = identity).
//
// Read listing.go first, then reader.go and mover.go.
package evolution
