package statebackend

import (
	"context"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// Restored is what one subtask of the restored snapshot contributes to a new
// subtask.
type Restored struct {
	// Range is the part of the old subtask's key groups that the new one takes over;
	// everything else in Runs is ignored.
	Range   stream.KeyGroupRange
	Runs    []*metapb.Run // oldest first
	Schemas []*metapb.Schema
}

// Snapshot is one cut on its way to a run. It is made by the mailbox goroutine.
type Snapshot interface {
	// MakeFull has Finish list only runs that this attempt has written, and of those only
	// one: nothing refers to what was there before. Called before Finish, if at all.
	MakeFull()
	// Finish sorts, encodes and writes the cut's run, makes it durable in the
	// checkpoint store and returns the subtask's whole run list. Any goroutine may
	// call it once the backend's Advance has reported that copying is done; it waits
	// for an earlier snapshot's Finish. An error says that the cut is not in the list:
	// its keys must be given back with the backend's Failed.
	Finish(ctx context.Context) (Result, error)
}

// Result is what an ack says of keyed state.
type Result struct {
	Runs     []*metapb.Run // the whole list, oldest first
	Schemas  []*metapb.Schema
	NewBytes int64 // written for this snapshot
}
