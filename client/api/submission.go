package api

import (
	"errors"
	"fmt"
	"io"
)

// Submission is a job to be run.
type Submission struct {
	// ID is chosen by the client: submitting again under the same id gives the job
	// that was accepted the first time. 32 lower-case hex digits; it becomes the job's id.
	ID string
	// Plan is the canonical encoding of metapb.Plan, with the program's args and params.
	Plan []byte
	// Settings from -D and -p, checked and under their own names (no aliases).
	Settings map[string]string
	// Restore is the snapshot to start from; its Path is "" if there is none.
	Restore Restore
	// ClientVersion of the weir command that submits.
	ClientVersion string
	// GOARCH that the binary was built for.
	GOARCH string

	// Binary yields the job binary: BinarySize bytes with this digest. It fails at its
	// end with ErrInvalid if they are not; nothing may be kept then.
	Binary       io.Reader
	BinarySize   int64
	BinarySHA256 [32]byte
}

// Errors by what the caller does about them. A Cluster wraps one of them, or returns
// an Error; everything else is an internal error (HTTP 500, exit code 1).
var (
	// ErrInvalid: the request can't be right, whatever the cluster does (400, exit code 2).
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound: no such job (404, exit code 3).
	ErrNotFound = errors.New("not found")
	// ErrConflict: the job's state does not allow it (409, exit code 4).
	ErrConflict = errors.New("conflict")
	// ErrIncompatible: snapshot and program do not fit (422, exit code 5).
	ErrIncompatible = errors.New("incompatible")
	// ErrUnavailable: no leader, or it has just lost its place; try again (503, exit code 6).
	ErrUnavailable = errors.New("unavailable")
	// ErrDenied: the token is missing or wrong (401, exit code 1).
	ErrDenied = errors.New("denied")
	// ErrTooLarge: the body has more bytes than are allowed (413, exit code 2).
	ErrTooLarge = errors.New("too large")
)

// Error is an error with all that a user is told. It is also its form in JSON; the
// first field has Flink's name.
type Error struct {
	Errors []string `json:"errors"`         // what, and why; one line each
	Hints  []string `json:"hints"`          // what to type, one line each
	Code   string   `json:"code"`           // stable: JOB_NOT_FOUND
	Kind   string   `json:"kind,omitempty"` // text of the mark
	mark   error
}

// NewError returns an error of the given mark (ErrNotFound, …) with a stable code.
func NewError(mark error, code, message string, hints ...string) *Error {
	return &Error{Errors: []string{message}, Hints: hints, Code: code, Kind: mark.Error(), mark: mark}
}

// Error implements error.
func (e *Error) Error() string {
	if len(e.Errors) == 0 {
		return fmt.Sprintf("error without a message (%s)", e.Code)
	}
	return e.Errors[0]
}

// Unwrap returns the mark.
func (e *Error) Unwrap() error {
	if e.mark == nil {
		e.mark = MarkNamed(e.Kind)
	}
	return e.mark
}

var marks = []error{ErrInvalid, ErrNotFound, ErrConflict, ErrIncompatible, ErrUnavailable, ErrDenied, ErrTooLarge}

// MarkNamed is the mark that goes by kind in JSON and in records, or nil.
func MarkNamed(kind string) error {
	for _, m := range marks {
		if m.Error() == kind {
			return m
		}
	}
	return nil
}

// MarkOf returns the mark that err carries, or nil.
func MarkOf(err error) error {
	for _, m := range marks {
		if errors.Is(err, m) {
			return m
		}
	}
	return nil
}

// SubmissionHead is the first part of a submission: POST /jobs takes a
// multipart/form-data body with the parts PartHead, PartPlan, PartBinary, in this order.
type SubmissionHead struct {
	ID            string            `json:"id"`
	Settings      map[string]string `json:"settings"`
	Restore       Restore           `json:"restore"`
	ClientVersion string            `json:"client-version"`
	GOARCH        string            `json:"goarch"`
	BinarySize    int64             `json:"binary-size"`
	BinarySHA256  string            `json:"binary-sha256"` // hex
}

// Names of the parts of a submission.
const (
	PartHead   = "head"
	PartPlan   = "plan"
	PartBinary = "binary"
)

// Submitted is the answer to a submission, with Flink's name.
type Submitted struct {
	JobID    string   `json:"jobid"`
	Warnings []string `json:"warnings,omitempty"` // for the user, a line each: who owns a restored snapshot, and the like
}

// Restore says what a new job starts from.
type Restore struct {
	// Path is a savepoint or a retained checkpoint: its folder or its _metadata, as a path
	// or file:///….
	Path string `json:"path,omitempty"`
	Mode string `json:"mode,omitempty"` // RestoreNoClaim (default), …
	// AllowNonRestored starts the job even if the snapshot has state that no operator of
	// the job takes; that state is dropped.
	AllowNonRestored bool `json:"allow-non-restored-state,omitempty"`
	// MapUIDs gives the state of an operator of the snapshot to one of another uid: old
	// uid to new.
	MapUIDs map[string]string `json:"map-uids,omitempty"`
}

// Restore modes, in Flink's words.
const (
	// RestoreNoClaim leaves the snapshot to its owner: the first checkpoint of the job
	// refers to nothing of it, and after that the snapshot may be deleted.
	RestoreNoClaim = "NO_CLAIM"
	// RestoreClaim makes the job the owner: it deletes the snapshot when it needs it no more.
	RestoreClaim = "CLAIM"
	// RestoreLegacy leaves the snapshot to its owner, who must keep it as long as any
	// checkpoint of the job refers to it.
	RestoreLegacy = "LEGACY"
)
