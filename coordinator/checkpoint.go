package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/stream"
)

// State is where one checkpoint stands.
//
//	┌─────────┐ all acks ┌─────────┐ durable ┌────────────┐ committed ┌───────────┐  ┌──────────┐
//	│ pending │ ───────▶ │ storing │ ──────▶ │ committing │ ────────▶ │ completed │─▶│ subsumed │
//	└────┬────┘          └────┬────┘         └─┬───┬────▲─┘           └─────▲─────┘  └──────────┘
//	     │ declined, expired, │ not durable,   │   │    │ again             │
//	     │ attempt lost       │ attempt lost   │   │  ┌─┴────────────┐      │ found
//	     ▼                    ▼                │   └─▶│ reading-back │ ─────┘
//	┌────────────────────────────┐   certainly │unknown└─────────────┘
//	│           failed           │ ◀───────────┘  not found: recommitting, which
//	└────────────────────────────┘    not committed  never fails, it reads back again (I4)
//
// An attempt that is lost while the pointer is under way changes nothing: every ack
// is durable, and a restore waits for the outcome (I5).
type State uint8

// States.
const (
	Pending      State = iota + 1 // acks are missing
	Storing                       // _metadata is being written
	Committing                    // the pointer's transaction is under way for the first time
	ReadingBack                   // its result was unknown; looking
	Recommitting                  // it was not there; the transaction is under way again
	Complete                      // the pointer is there: recovery may use it
	Subsumed                      // replaced by newer ones
	Aborted                       // will never complete
	states
)

var stateNames = [states]string{
	"", "pending", "storing", "committing", "reading-back", "recommitting", "completed", "subsumed", "failed",
}

// String is the state's name.
func (s State) String() string {
	if s > 0 && s < states {
		return stateNames[s]
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// stateMoves lists every transition that is possible; all others are bugs.
var stateMoves = [states][]State{
	Pending:      {Storing, Aborted},
	Storing:      {Committing, Aborted},
	Committing:   {Complete, ReadingBack, Aborted},
	ReadingBack:  {Complete, Recommitting},
	Recommitting: {Complete, ReadingBack},
	Complete:     {Subsumed},
	Subsumed:     {},
	Aborted:      {},
}

// stateTable is stateMoves as text, one line a state.
func stateTable() string {
	var b strings.Builder
	for s := Pending; s < states; s++ {
		fmt.Fprintf(&b, "%v:", s)
		for _, to := range stateMoves[s] {
			fmt.Fprintf(&b, " %v", to)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// final reports whether no other checkpoint follows if this one completes.
func (p *checkpoint) final() bool {
	return p.kind == stream.TerminalBarrier || p.kind == stream.StopBarrier
}

// abortable: no transaction that could make it complete has been sent.
func (s State) abortable() bool { return s == Pending || s == Storing }

// part is what one subtask contributes.
type part struct {
	execution  Execution
	operators  []*metapb.OperatorSnapshot // nil until acked
	stillReads []string
	acked      bool
	ackedAt    time.Time
	newBytes   uint64
	timings    Timings
}

// checkpoint is one checkpoint in the making.
type checkpoint struct {
	id          stream.CheckpointID
	kind        stream.BarrierKind
	state       State
	triggeredAt time.Time
	ackedAt     time.Time
	deadline    time.Time // of pending and storing
	parts       []part    // by subtask
	missing     int
	newBytes    uint64
	worst       Timings
	wants       []want                     // answered by it
	metadata    *metapb.CheckpointMetadata // from storing on
	pointer     *metapb.CheckpointPointer  // from committing on
}

func (p *checkpoint) enter(to State) {
	if !slices.Contains(stateMoves[p.state], to) {
		panic(fmt.Sprintf("weir: BUG: checkpoint %d moves from %v to %v", p.id, p.state, to))
	}
	p.state = to
}

// part returns the contribution of s, or nil.
func (p *checkpoint) part(s job.SubtaskID) *part {
	i, ok := slices.BinarySearchFunc(p.parts, s, func(a part, b job.SubtaskID) int {
		return compareSubtasks(a.execution.Subtask, b)
	})
	if !ok {
		return nil
	}
	return &p.parts[i]
}

// executions of the parts.
func (p *checkpoint) executions() []Execution {
	all := make([]Execution, len(p.parts))
	for i := range p.parts {
		all[i] = p.parts[i].execution
	}
	return all
}

func (p *checkpoint) worsen(t Timings) {
	p.worst.StartDelay = max(p.worst.StartDelay, t.StartDelay)
	p.worst.Alignment = max(p.worst.Alignment, t.Alignment)
	p.worst.Sync = max(p.worst.Sync, t.Sync)
	p.worst.Async = max(p.worst.Async, t.Async)
	p.worst.LongestStall = max(p.worst.LongestStall, t.LongestStall)
}

// metadataObject is the name of a checkpoint's _metadata below the job's folder.
func metadataObject(id stream.CheckpointID) string { return id.String() + "/_metadata" }
