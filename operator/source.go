package operator

import (
	"time"

	"github.com/weirstream/weir/stream"
)

// Source makes the readers of a stream, and the enumerator that hands them their
// splits if the source has one. A Source value is configuration: it is built anew
// for every subtask attempt and holds nothing that runs.
//
// A split is opaque to the runtime: the connector encodes what identifies it and
// the position reached in it. A split is in exactly one state at each cut.
type Source[T any] interface {
	// NewReader makes the reader of one subtask.
	NewReader(c *SourceContext) (Reader[T], error)
	// NewEnumerator makes the enumerator, or returns nil if readers find their own
	// splits (Reader.Start with no splits restored). It must return nil always or never.
	NewEnumerator(c *SourceContext) (Enumerator, error)
}

// SourceContext is what a reader or enumerator may know and use.
type SourceContext struct {
	*Runtime
	UID string
	// Restored says that the snapshot that the job starts from holds this source: a
	// reader without restored splits has none left then. (Runtime.Restored is of the
	// job: a source that was added to the program since begins at its beginning.)
	Restored bool
}

// PollStatus says what a reader has after a Poll.
type PollStatus uint8

// States of a reader as it reports them.
const (
	// PollMore: call again as soon as there is room.
	PollMore PollStatus = iota + 1
	// PollWait: nothing until Wake, or until Notify is called.
	PollWait
	// PollIdle: nothing, and no split to read; ask the enumerator.
	PollIdle
	// PollEnd: the reader will never have another record.
	PollEnd
)

// Polled is the result of a Poll.
type Polled struct {
	Status PollStatus
	// Wake is how long to wait at most before polling again (PollWait); 0 means until
	// Notify is called.
	Wake time.Duration
	// Split is the number of the split that the records are of, for a SplitReader.
	Split int32
}

// Reader reads the splits of one source subtask. It never blocks: a reader that
// has to wait for I/O does so in a goroutine of its own and calls Notify.
type Reader[T any] interface {
	// Start hands over the splits restored for this subtask (none at a fresh start).
	// notify may be called from any goroutine to have Poll called again.
	Start(splits [][]byte, notify func()) error
	// AddSplits hands over newly assigned splits.
	AddSplits(splits [][]byte) error
	// NoMoreSplits says that no further split will be assigned.
	NoMoreSplits() error
	// Poll appends at most cap(b.Values)-len(b.Values) records to b. Afterwards
	// Snapshot answers for the position after the last of them: barriers fall between
	// polls.
	Poll(b *stream.Batch[T]) (Polled, error)
	// Snapshot appends the unfinished splits with their positions to dst.
	Snapshot(dst [][]byte) ([][]byte, error)
	// Position describes where the reader is, for the report of a failure ("file a.txt, byte 17").
	Position() string
	Close() error
}

// Enumerator finds splits and decides who reads them. It runs as a hidden subtask
// of parallelism 1 of the source; its assignments travel in band, so a barrier
// never finds a split in two places.
type Enumerator interface {
	// Start hands over what Snapshot returned (nil at a fresh start).
	Start(state [][]byte, notify func()) error
	// Next returns splits for reader (of readers many) that asked for more, at most
	// want of them. none says that there will never be another split for anybody.
	// An empty answer without none is asked again after notify.
	Next(reader, readers, want int) (splits [][]byte, none bool, err error)
	// Snapshot appends the enumerator's state, unassigned splits included, to dst.
	Snapshot(dst [][]byte) ([][]byte, error)
	Close() error
}

// Assignment is what an enumerator tells one reader, in band, on a direct edge
// whose Target is Reader.
type Assignment struct {
	Reader int // subtask index
	Splits [][]byte
	NoMore bool // no further split will be assigned to anybody
}
