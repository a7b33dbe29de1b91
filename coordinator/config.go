package coordinator

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/job"
)

// Retention says what becomes of the checkpoints of a job that was cancelled.
// Those of a FINISHED job are always deleted, those of a FAILED one always kept.
type Retention uint8

const (
	// RetainOnCancellation keeps them; the user deletes them.
	RetainOnCancellation Retention = iota
	// DeleteOnCancellation deletes them.
	DeleteOnCancellation
)

// String is the value of execution.checkpointing.externalized-checkpoint-retention.
func (r Retention) String() string {
	switch r {
	case RetainOnCancellation:
		return "RETAIN_ON_CANCELLATION"
	case DeleteOnCancellation:
		return "DELETE_ON_CANCELLATION"
	}
	return fmt.Sprintf("retention-%d", uint8(r))
}

// Config is how a job is checkpointed (execution.checkpointing.*).
type Config struct {
	// Interval between two triggers; 0 = no periodic checkpoints. The terminal one is
	// taken all the same.
	Interval time.Duration
	// Timeout is the age at which a checkpoint that still lacks acks is given up.
	// 0 = 10 min, Flink's default.
	Timeout time.Duration
	// MinPause is the least time between the end of a checkpoint and the next trigger.
	MinPause time.Duration
	// TolerableFailures is how many checkpoints may fail one after the other; one more
	// fails the job. A completed one resets the count.
	TolerableFailures int
	// Retained is num-retained: how many completed checkpoints are kept. 0 = 1.
	Retained int
	// Retention of a cancelled job's checkpoints.
	Retention Retention
	// Concurrent is max-concurrent-checkpoints: how many may be under way; 0 = 1. With a
	// MinPause it is 1, as in Flink.
	Concurrent int
	// Alignment says whether barriers may overtake records, and AlignmentTimeout at which
	// age they begin to; 0 = at once.
	Alignment        Alignment
	AlignmentTimeout time.Duration
	// Fallback is whether recovery may pass over damaged checkpoints; TwoPhase are the uids
	// of the operators that publish with checkpoints, for the message.
	Fallback Fallback
	TwoPhase []string
	// IDBatch is how many checkpoint ids are reserved with one transaction; 0 = 64:
	// at the default interval one transaction in ten minutes.
	IDBatch int
	// OrphansAfter is how long after a deployment objects that nobody lists are looked
	// for: attempts that were cut off have ended by then. 0 = 1 min.
	OrphansAfter time.Duration
}

// Fallback says what recovery does when the newest checkpoint can't be read.
type Fallback uint8

const (
	// FallbackAlways: it starts from the newest that can be.
	FallbackAlways Fallback = iota
	// FallbackAsk: the job fails. What sinks have published with the checkpoints that were
	// passed over would be published again, and somebody has to want that.
	FallbackAsk
)

// Alignment of barriers.
type Alignment uint8

const (
	// Aligned barriers overtake nothing.
	Aligned Alignment = iota
	// UnalignedAfterTimeout: barriers of periodic checkpoints overtake records once they
	// are older than Config.AlignmentTimeout.
	UnalignedAfterTimeout
)

// DefaultTolerableFailures is execution.checkpointing.tolerable-failed-checkpoints.
const DefaultTolerableFailures = 3

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Minute
	}
	if c.Retained <= 0 {
		c.Retained = 1
	}
	if c.Concurrent <= 0 || c.MinPause > 0 {
		c.Concurrent = 1
	}
	if c.OrphansAfter <= 0 {
		c.OrphansAfter = time.Minute
	}
	if c.IDBatch <= 0 {
		c.IDBatch = 64
	}
	return c
}

// Identity is what stands in every _metadata.
type Identity struct {
	ClusterID  string
	JobID      job.ID
	JobName    string
	Epoch      uint64 // of the leader that this coordinator works for
	PlanSHA256 []byte
}

// Bounds of the inline runs in one _metadata, in bytes, whatever the parallelism.
const (
	maxInlineTotal = 8 << 20
	// maxAllInline holds where all state is inline. A Deploy carries it: it stays below
	// weirpb.MaxMessage.
	maxAllInline = 192 << 20
)

// InlineLimit is the largest run in bytes that a subtask may put into its ack
// instead of into a file: threshold, unless there are very many subtasks. all says that
// there are no files.
func InlineLimit(threshold int64, all bool, subtasks int) uint32 {
	total := maxInlineTotal
	if all {
		total = maxAllInline
	}
	return uint32(min(threshold, int64(total/max(1, subtasks))))
}
