package task

import (
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

// CommandKind is what a Command asks for.
type CommandKind uint8

// Kinds of commands.
const (
	// Inject Barrier into this subtask, which has no inputs.
	Inject CommandKind = iota + 1
	// Abort the checkpoints from First to ID: they will not complete.
	Abort
	// Completed says that checkpoint ID has: commit; if Terminal, finish.
	Completed
	// Cancel the attempt.
	Cancel
	// LeaderLost cancels every checkpoint that this subtask has not acked, and those whose
	// barriers come until there is a leader again.
	LeaderLost
	// LeaderFound says that there is.
	LeaderFound
	// Drain a source, or its enumerator: it ends as if its input had.
	Drain
	// AlignTime says how far the earliest source of each of Groups is.
	AlignTime
	// Fail the attempt with Err: something beside the subtask went wrong, such as the
	// connection to another worker (*exchange.PeerError).
	Fail

	// finished: keyed state of a snapshot has been written, or has not.
	finished
	// stored: records in flight of a snapshot have been, or have not.
	stored
)

// String is the kind's name in logs.
func (k CommandKind) String() string {
	switch k {
	case Inject:
		return "inject"
	case Abort:
		return "abort"
	case Completed:
		return "completed"
	case Cancel:
		return "cancel"
	case LeaderLost:
		return "leader-lost"
	case LeaderFound:
		return "leader-found"
	case Drain:
		return "drain"
	case AlignTime:
		return "align-time"
	case Fail:
		return "fail"
	case finished:
		return "finished"
	case stored:
		return "stored"
	}
	return fmt.Sprintf("command-%d", uint8(k))
}

// Command is what the worker tells a subtask.
type Command struct {
	Kind     CommandKind
	Barrier  stream.Barrier      // of Inject
	ID       stream.CheckpointID // of Abort, Completed
	First    stream.CheckpointID // of Abort; 0 = ID
	Terminal bool                // of Completed
	Reason   string              // of Abort, Cancel
	Groups   map[string]int64    // of AlignTime: watermarks by group
	Err      error               // of Fail, finished, stored

	posted   time.Time
	snapshot *snapshot           // of finished and stored, with its outcome
	result   statebackend.Result // of finished
	file     *channelFile        // of stored
}

// mailbox keeps commands in order until the loop takes them. Any number fits: all
// senders are the task's own worker.
type mailbox struct {
	mu    sync.Mutex
	queue []Command // guarded by mu
	spare []Command // the loop's
}

func (m *mailbox) put(c Command) {
	m.mu.Lock()
	m.queue = append(m.queue, c)
	m.mu.Unlock()
}

// take returns the commands so far; the slice is valid until the next take.
func (m *mailbox) take() []Command {
	clear(m.spare)
	m.mu.Lock()
	m.spare, m.queue = m.queue, m.spare[:0]
	m.mu.Unlock()
	return m.spare
}
