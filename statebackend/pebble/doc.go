// Package pebble is the state backend with a cold tier: the table of
// statebackend/table over one Pebble database for each keyed subtask. It is the
// only importer of Pebble's DB.
//
// The database is a cache of the run list (A1): each run is hard-linked into it by
// Ingest, strictly in list order, and nothing that Pebble writes itself leaves the
// host. It opens at the first eviction, or when more is restored than loads at once:
// then Restore attaches the runs' files (with bounds, those of which only a part counts;
// where they lie, those that can't be linked, until they have been brought) and serves.
// Advance loads the timers, then the rest bundle by bundle while memory is below four
// fifths of the budget. Over budget, Advance evicts one bundle at a time, in the manner of a
// clock: dirty entries become an eviction run first. A2: while a cut is being written
// only clean entries leave memory, so that memory may exceed the budget by what
// changes meanwhile.
//
// A read finds its key in one of the levels; the filters of the others keep it from looking
// into their blocks. Runs have them from the moment on when their subtask has a cold tier.
//
// Compactions begin when nothing is left to be loaded, one among all databases that share
// a Shared, and yield to everything else until too many runs wait for one (turns.go). They
// merge what the list's rebase merges too: Pebble cannot take a merged run in the place of
// its parts. A third of what uniform access to large state costs goes there.
//
// Goroutines: the mailbox goroutine of the subtask, except Snapshot.Finish, which
// runs anywhere; Pebble's own for compactions, of which one runs at a time among all
// databases that share a Shared.
//
// Invariants: A1, A2, A3, I17. Read backend.go first, then cold.go
// and attach.go.
package pebble
