package coordinator

import "fmt"

// Cause is why a checkpoint failed.
type Cause uint8

// Causes.
const (
	Expired        Cause = iota + 1 // acks were missing at the timeout
	SubtaskRefused                  // a subtask declined, or acked nonsense
	MetadataLost                    // _metadata could not be written
	PointerRefused                  // the store refused the pointer
	AttemptLost                     // a subtask it needed is gone
	JobOver                         // the job ended or the coordinator was stopped
	Superseded                      // a newer one has all acks
)

// String names the cause in the history.
func (c Cause) String() string {
	switch c {
	case Expired:
		return "expired"
	case SubtaskRefused:
		return "declined"
	case MetadataLost:
		return "metadata-not-written"
	case PointerRefused:
		return "pointer-not-committed"
	case AttemptLost:
		return "attempt-lost"
	case JobOver:
		return "job-over"
	case Superseded:
		return "superseded"
	}
	return fmt.Sprintf("cause-%d", uint8(c))
}

// counts reports whether the failure counts against TolerableFailures: as in Flink,
// what the checkpoint itself is to blame for, not the loss of a task.
func (c Cause) counts() bool {
	switch c {
	case Expired, SubtaskRefused, MetadataLost, PointerRefused:
		return true
	}
	return false
}
