// Package runlist keeps the run list of one keyed subtask: it writes a cut's run to
// the local disk, uploads it, names it, and bounds how many runs overlap at a key.
// Both backends use it; statebackend/table makes the cuts, statebackend/run the
// files.
//
// The run list is the truth (A1): oldest run first, a newer one shadows an older
// one. Every result is the whole list, and nothing in it depends on which
// checkpoints completed (A3): an aborted one changes nothing here. A run that has
// left the list is never listed again. Names are <job>-<attempt>-<operator
// hash>-<subtask>-<counter>, unique for ever, never derived from content (A4); <job> is a
// hash of where the checkpoint folder is.
//
// A rebase merges adjacent runs and uploads the result in a goroutine of its own, one
// at a time in a process, and takes its place between two acks. An ack lists at most
// maxOverlap runs at a key: where the rebase has not come yet, Finish merges the newest,
// which are small, after the cut is durable (squeeze). More are listed only while restored
// runs lie behind, see below.
//
// What the mailbox goroutine evicts while an ack is being made stands in the list behind its
// cut, and is neither in that ack nor in what is merged for it.
//
// Small files of all subtasks in a worker go together into one object for each checkpoint, a
// pack (packing.go decides, packer.go does it); a snapshot's manifest says where in a pack a
// file lies. On local disk, where a rebase reads it, each is a file of its own, and so it is
// brought by a restore.
//
// A cold tier reads this job's restored runs where they lie if they can't be linked, while
// they are brought in the background; until that is done they stay in the list
// (behind.go). It takes each run once, by Link or when its cut is resolved: there may be
// operands in it.
//
// After a restore the whole digests of the runs taken over are compared in the
// background, slowly (VerifyBehind).
//
// Goroutines: Add and the making of a Snapshot belong to the mailbox goroutine;
// Snapshot.Finish runs anywhere, one at a time in the order of the cuts. A mutex
// guards the list itself; only Link holds it over I/O, so that no file goes meanwhile.
// Close ends the rebase. A Packer writes each pack in a goroutine of its own, which ends with
// it.
//
// Invariants: A1, A3, A4, I12, I17. Read list.go first, then snapshot.go, then
// rebase.go, link.go and packer.go.
package runlist
