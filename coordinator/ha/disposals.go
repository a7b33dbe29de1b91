package ha

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/metapb"
)

// Disposals are operations of no job: what they delete may be anybody's, and the job that
// it was taken of may be forgotten.
const (
	disposalPrefix = "disposals/"
	disposalLink   = "disposal-sequence"
)

// PutDisposal records that a client was promised a disposal, before it is begun.
func (j *Jobs) PutDisposal(ctx context.Context, op *metapb.Operation) error {
	return j.commitChained(ctx, disposalLink, "record disposal "+op.TriggerId, Txn{
		Puts: []Entry{put(disposalPrefix+op.TriggerId, op)},
	}, false)
}

// EndDisposal records the end of a disposal, and forgets those that ended long ago.
func (j *Jobs) EndDisposal(ctx context.Context, op *metapb.Operation, forget []string) error {
	t := Txn{Present: []string{disposalPrefix + op.TriggerId}, Puts: []Entry{put(disposalPrefix+op.TriggerId, op)}}
	for _, trigger := range forget {
		t.Deletes = append(t.Deletes, disposalPrefix+trigger)
	}
	return j.commitChained(ctx, disposalLink, "record the end of disposal "+op.TriggerId, t, false)
}

// Disposals reads all that are on record, by trigger id. One that can't be understood is
// left out: a newer version's.
func (j *Jobs) Disposals(ctx context.Context) ([]*metapb.Operation, error) {
	entries, err := j.kv.List(ctx, disposalPrefix)
	if err != nil {
		return nil, fmt.Errorf("read disposals: %w", err)
	}
	var all []*metapb.Operation
	for _, e := range entries {
		op := new(metapb.Operation)
		if proto.Unmarshal(e.Value, op) == nil && strings.TrimPrefix(e.Key, disposalPrefix) == op.TriggerId {
			all = append(all, op)
		}
	}
	return all, nil
}
