package job

import (
	"fmt"
	"strconv"
	"strings"
)

// ID names a job: 32 lower-case hex digits, accepted once in a cluster for ever (I6).
type ID string

// Validate reports whether id has the form of a job id. Ids become parts of
// paths, so everything else is refused at the door.
func (id ID) Validate() error {
	if len(id) != 32 {
		return fmt.Errorf("job id %q has %d characters, want 32 hex digits", string(id), len(id))
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("job id %q is not lower-case hex", string(id))
		}
	}
	return nil
}

// VertexID numbers the vertices of a Graph from 0 in topological order.
type VertexID int

// SubtaskID is one parallel instance of a vertex, 0-based.
type SubtaskID struct {
	Vertex VertexID
	Index  int
}

// String returns "v2[1]".
func (s SubtaskID) String() string { return fmt.Sprintf("v%d[%d]", int(s.Vertex), s.Index) }

// Incarnation numbers the deployments of a whole job from 1. Data frames carry it;
// stale ones are dropped. It rises with every restart of the job.
type Incarnation uint64

// Attempt is one try of a subtask: the epoch of the leader that deployed it and a
// number that rises within the job. Runs, acks and data connections carry it.
type Attempt struct {
	Epoch uint64
	N     uint32
}

// String returns "e17.n2", the form used in object names.
func (a Attempt) String() string { return fmt.Sprintf("e%d.n%d", a.Epoch, a.N) }

// Less orders attempts: a higher epoch is always newer.
func (a Attempt) Less(b Attempt) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.N < b.N
}

// ParseAttempt is the inverse of Attempt.String.
func ParseAttempt(s string) (Attempt, error) {
	e, n, ok := strings.Cut(s, ".n")
	if !ok || !strings.HasPrefix(e, "e") {
		return Attempt{}, fmt.Errorf("attempt %q is not of the form e<epoch>.n<number>", s)
	}
	epoch, err := strconv.ParseUint(e[1:], 10, 64)
	if err != nil {
		return Attempt{}, fmt.Errorf("parse epoch of attempt %q: %w", s, err)
	}
	num, err := strconv.ParseUint(n, 10, 32)
	if err != nil {
		return Attempt{}, fmt.Errorf("parse number of attempt %q: %w", s, err)
	}
	return Attempt{epoch, uint32(num)}, nil
}
