package sim

// Mutant is a mistake built in on purpose around the cores: what a core that made it
// would do. Each must be found.
type Mutant uint8

// Mutants, each a mistake that a real system has made.
const (
	NoMutant          Mutant = iota
	DeleteOnAbort            // an aborted checkpoint's new runs are deleted (FLINK-24611, 25395)
	NotifyFirst              // sinks are told before the pointer is committed
	LateAcks                 // acks of earlier checkpoints and replaced attempts count
	UnknownIsFailure         // an unknown transaction is taken for a failed one (FLINK-22494)
	RestoreEarly             // a restore does not wait for a pointer under way
	NoAlignment              // channels are not blocked
	LateTransactions         // what arrives late is applied all the same
	ForgetPins               // a savepoint's checkpoint is subsumed while its copy is made
	NoCapture                // what a barrier overtakes is not kept
	ForgetPromises           // a new leader does not go on with operations
	StalePins                // the end of an operation is recorded with pins as they were before
	AdoptInPart              // a new leader starts again only what is gone
	ForgetReservation        // a new leader's ids follow the newest completed one
	Mutants
)

var mutantNames = [Mutants]string{"none", "delete-on-abort", "notify-first", "late-acks", "unknown-is-failure", "restore-early", "no-alignment",
	"late-transactions", "forget-pins", "no-capture", "forget-promises", "stale-pins", "adopt-in-part", "forget-reservation",
}

// String names the mutant.
func (m Mutant) String() string { return mutantNames[m] }
