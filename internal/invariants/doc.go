// Package invariants states what must hold, in the place where it could break.
//
// Invariants have numbers (I1 …), listed with their proofs in ARCHITECTURE.md;
// searching for a number finds its statement, its enforcement and its tests.
//
// Two grades of checking:
//   - Check is always on. It is for control: once for an event, an RPC, a checkpoint.
//   - Whatever costs something for each record, or walks a structure, stands under
//     `if invariants.Enabled { … }`. Enabled is a constant: true under the race
//     detector and under the build tag "invariants", false in shipped binaries, where
//     the compiler removes the block.
//
// A broken invariant is a bug of Weir and panics; bad input never does.
//
// No goroutines, no state, imports nothing of ours, so every package may import it.
// Read invariants.go.
package invariants
