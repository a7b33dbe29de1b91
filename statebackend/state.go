package statebackend

import (
	"errors"
	"fmt"

	"github.com/weirstream/weir/proto/metapb"
)

// StateID identifies a state in the keys of runs. It is allocated once for
// (uid, name), kept in every _metadata, handed out at Deploy and never computed
// from the plan. 0 is no id.
type StateID uint32

// Descriptor says what a keyed state is.
type Descriptor struct {
	ID              StateID
	Name            string
	Kind            metapb.StateKind
	ValueSchema     []byte // codec schema of the value or of a list's element
	NamespaceSchema []byte // codec schema of a map's keys
}

// Validate reports what a Descriptor lacks.
func (d Descriptor) Validate() error {
	if d.ID == 0 || d.Name == "" || d.Kind == metapb.StateKind_STATE_KIND_UNSPECIFIED {
		return fmt.Errorf("state %q (id %d, kind %v): name, id and kind are needed", d.Name, d.ID, d.Kind)
	}
	return nil
}

var (
	// ErrBudget: keyed state does not fit its share of memory and the backend has no
	// cold tier.
	ErrBudget = errors.New("keyed state exceeds its memory")
	// ErrSchema: a snapshot holds a state in a form that the program's codec cannot read.
	ErrSchema = errors.New("state schema is incompatible")
	// ErrTooLarge: keyed state does not fit the checkpoint storage.
	ErrTooLarge = errors.New("state is too large for the checkpoint storage")
	// ErrCorrupt: bytes of a snapshot or of the cold tier do not decode. The snapshot is
	// damaged; recovery falls back to an older one.
	ErrCorrupt = errors.New("keyed state is corrupt")
)
