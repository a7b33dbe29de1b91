// Package memha keeps a cluster's records in the memory of one process: for local
// mode, where JobManager and TaskManagers are objects of that process, and for
// tests. A Store may be shared by several JobManagers; faults can be injected.
//
// It never outlives the process and starts no goroutine. Methods may be called
// from any goroutine.
package memha

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/coordinator/ha"
	"github.com/weirstream/weir/proto/metapb"
)

// Fault decides what happens to a transaction: nil applies it; an error refuses
// it, after applying it if apply is set (a reply that got lost).
type Fault func(t ha.Txn) (apply bool, err error)

// Store is a KV and an Election in memory.
type Store struct {
	mu       sync.Mutex
	revision uint64
	values   map[string][]byte
	leader   *leadership
	vacant   chan struct{} // closed when the leader leaves
	fault    Fault
}

var _ ha.KV = (*Store)(nil)
var _ ha.Election = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	s := &Store{values: map[string][]byte{}, vacant: make(chan struct{})}
	close(s.vacant)
	return s
}

// SetFault installs f for the transactions to come; nil removes it.
func (s *Store) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Depose takes the leadership away as an expired lease does: the leader is not
// asked and its transactions fail from here on.
func (s *Store) Depose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.depose()
}

func (s *Store) depose() {
	if s.leader != nil {
		close(s.leader.lost)
		s.leader = nil
		close(s.vacant)
	}
}

// Get implements ha.KV.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", key, ha.ErrNotFound)
	}
	return slices.Clone(v), nil
}

// List implements ha.KV.
func (s *Store) List(ctx context.Context, prefix string) ([]ha.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []ha.Entry
	for _, k := range slices.Sorted(maps.Keys(s.values)) {
		if strings.HasPrefix(k, prefix) {
			all = append(all, ha.Entry{Key: k, Value: slices.Clone(s.values[k])})
		}
	}
	return all, nil
}

// Commit implements ha.KV.
func (s *Store) Commit(ctx context.Context, lead ha.Leadership, t ha.Txn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := lead.(*leadership); !ok || l != s.leader {
		return ha.ErrFenced
	}
	if s.fault != nil {
		if apply, err := s.fault(t); err != nil {
			if apply {
				_ = s.apply(t) // the caller is told that the result is unknown
			}
			return err
		}
	}
	return s.apply(t)
}

func (s *Store) apply(t ha.Txn) error {
	if n := len(t.Puts) + len(t.Deletes); n > ha.MaxOps {
		return fmt.Errorf("a transaction of %d operations, more than %d", n, ha.MaxOps)
	}
	for _, k := range t.Absent {
		if _, ok := s.values[k]; ok {
			return fmt.Errorf("%s exists: %w", k, ha.ErrConflict)
		}
	}
	for _, k := range t.Present {
		if _, ok := s.values[k]; !ok {
			return fmt.Errorf("%s does not exist: %w", k, ha.ErrConflict)
		}
	}
	for _, e := range t.Equal {
		if v, ok := s.values[e.Key]; !ok || !bytes.Equal(v, e.Value) {
			return fmt.Errorf("%s is %q, not %q: %w", e.Key, v, e.Value, ha.ErrConflict)
		}
	}
	s.revision++
	for _, e := range t.Puts {
		s.values[e.Key] = slices.Clone(e.Value)
	}
	for _, k := range t.Deletes {
		delete(s.values, k)
	}
	return nil
}

// Campaign implements ha.Election.
func (s *Store) Campaign(ctx context.Context, self *metapb.LeaderRecord) (ha.Leadership, error) {
	for {
		s.mu.Lock()
		if s.leader == nil {
			s.revision++
			s.vacant = make(chan struct{})
			s.leader = &leadership{
				store: s, epoch: ha.Epoch(s.revision), lost: make(chan struct{}),
				record: proto.Clone(self).(*metapb.LeaderRecord),
			}
			l := s.leader
			s.mu.Unlock()
			return l, nil
		}
		vacant := s.vacant
		s.mu.Unlock()
		select {
		case <-vacant:
		case <-ctx.Done():
			return nil, fmt.Errorf("campaign: %w", context.Cause(ctx))
		}
	}
}

// Leader implements ha.Election.
func (s *Store) Leader(ctx context.Context) (*metapb.LeaderRecord, ha.Epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == nil {
		return nil, 0, fmt.Errorf("leader: %w", ha.ErrNotFound)
	}
	return proto.Clone(s.leader.record).(*metapb.LeaderRecord), s.leader.epoch, nil
}

type leadership struct {
	store  *Store
	epoch  ha.Epoch
	lost   chan struct{}
	record *metapb.LeaderRecord
}

// Epoch implements ha.Leadership.
func (l *leadership) Epoch() ha.Epoch { return l.epoch }

// Lost implements ha.Leadership.
func (l *leadership) Lost() <-chan struct{} { return l.lost }

// Resign implements ha.Leadership.
func (l *leadership) Resign(ctx context.Context) error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.store.leader == l {
		l.store.depose()
	}
	return nil
}
