package ha

import (
	"context"
	"errors"

	"github.com/weirstream/weir/proto/metapb"
)

// Epoch numbers leaders: the revision at which a leader's election key was
// created. It rises with each leader and compares only inside one cluster
// incarnation.
type Epoch uint64

// Errors by what the caller does about them.
var (
	// ErrFenced: somebody else leads now. Stop being a leader; change nothing more.
	ErrFenced = errors.New("no longer the leader")
	// ErrConflict: a condition of the transaction did not hold. Read and decide anew.
	ErrConflict = errors.New("condition of the transaction does not hold")
	// ErrUnknown: the transaction may or may not have been applied. Read back.
	ErrUnknown = errors.New("result of the transaction is not known")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("no such key")
)

// Entry is a key with its value. Keys are relative to the cluster's prefix.
type Entry struct {
	Key   string
	Value []byte
}

// MaxOps is the largest number of puts and deletes of a transaction: etcd takes 128
// operations by default (--max-txn-ops), the leader's guard and the conditions among
// them.
const MaxOps = 100

// Txn is a set of changes applied together or not at all, at most MaxOps.
type Txn struct {
	Absent  []string // keys that must not exist
	Present []string // keys that must exist
	Equal   []Entry  // keys that must have this value
	Puts    []Entry
	Deletes []string
}

// KV is what the records need of a store. Reads are linearizable.
type KV interface {
	// Get returns the value of key, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// List returns the entries whose keys begin with prefix, sorted by key.
	List(ctx context.Context, prefix string) ([]Entry, error)
	// Commit applies t if lead still leads. See the errors of this package.
	Commit(ctx context.Context, lead Leadership, t Txn) error
}

// Leadership is a won election.
type Leadership interface {
	// Epoch is higher than that of every leader before.
	Epoch() Epoch
	// Lost is closed when the election is known to be lost. Safety does not rest on
	// it, the guard of every Commit does.
	Lost() <-chan struct{}
	// Resign gives the election up, so that a standby need not wait for the lease.
	Resign(ctx context.Context) error
}

// Election decides who leads.
type Election interface {
	// Campaign waits until this process leads or ctx is done.
	Campaign(ctx context.Context, self *metapb.LeaderRecord) (Leadership, error)
	// Leader returns the record of the present leader, or ErrNotFound.
	Leader(ctx context.Context) (*metapb.LeaderRecord, Epoch, error)
}
