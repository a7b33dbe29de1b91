package savepoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/coordinator/metadata"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/stream"
)

// Description is what people and programs are told of a snapshot. Its JSON form is
// stable.
type Description struct {
	Location      string    `json:"location"` // folder of the _metadata, absolute
	Type          string    `json:"type"`     // checkpoint, savepoint-canonical or savepoint-native
	FormatVersion uint32    `json:"format-version"`
	ClusterID     string    `json:"cluster-id,omitempty"`
	JobID         string    `json:"job-id,omitempty"`
	JobName       string    `json:"job-name,omitempty"`
	CheckpointID  uint64    `json:"checkpoint-id"`
	Kind          string    `json:"kind"` // what it was taken for
	TriggeredAt   time.Time `json:"triggered-at"`
	DurationMs    int64     `json:"duration-ms"`

	MetadataBytes int64      `json:"metadata-bytes"`
	Bytes         int64      `json:"bytes"` // of the runs, each counted once
	Files         int        `json:"files"`
	SelfContained bool       `json:"self-contained"` // can be moved as a folder
	RefersTo      []string   `json:"refers-to"`      // folders outside that it needs, sorted
	Operators     []Operator `json:"operators"`      // sorted by uid
}

// Operator is what a snapshot has of one operator.
type Operator struct {
	UID         string  `json:"uid"`
	Parallelism int     `json:"parallelism"`
	KeyType     string  `json:"key-type,omitempty"` // of a keyed operator, where it is known
	States      []State `json:"states"`             // sorted by name
	Runs        int     `json:"runs"`               // of all subtasks, each counted once
	Entries     uint64  `json:"entries"`            // in the runs; shadowed ones and tombstones count
	Bytes       int64   `json:"bytes"`              // of the runs, each counted once
	Overlap     int     `json:"overlap"`            // most runs that may hold one key
	InFlight    uint64  `json:"in-flight-records"`  // of an unaligned checkpoint
	Ended       int     `json:"ended"`              // subtasks whose input has ended
}

// State is what a snapshot has of one state.
type State struct {
	Name          string `json:"name"`
	Kind          string `json:"kind"`         // such as value, map, timer, union_list
	ID            uint32 `json:"id,omitempty"` // in the runs; 0: operator state
	Type          string `json:"type"`         // of the value or element, as far as it is known
	NamespaceType string `json:"namespace-type,omitempty"`
	Versions      int    `json:"versions"`          // schemas that values of it may have
	Entries       int    `json:"entries,omitempty"` // of operator state
}

// Describe says what the snapshot at path is and holds. It reads the _metadata only.
func Describe(ctx context.Context, path string) (Description, error) {
	s, err := Open(ctx, path)
	if err != nil {
		return Description{}, err
	}
	return s.Describe(), s.Close()
}

// Describe says what the snapshot is and holds.
func (s *Snapshot) Describe() Description {
	m := s.meta
	d := Description{
		Location: s.folder, Type: typeOf(m), FormatVersion: m.FormatVersion,
		ClusterID: m.ClusterId, JobID: m.JobId, JobName: m.JobName,
		CheckpointID: m.CheckpointId, Kind: stream.BarrierKind(m.Kind).String(),
		TriggeredAt: time.UnixMilli(m.TriggeredAtMs).UTC(), DurationMs: m.DurationMs,
		MetadataBytes: s.size, SelfContained: m.SelfContained, RefersTo: []string{}, Operators: []Operator{},
	}
	seen := map[string]bool{}
	for _, op := range m.Operators {
		o := describeOperator(m, op)
		for _, sub := range op.Subtasks {
			for _, r := range sub.Runs {
				if r.BasePath != "" {
					d.RefersTo = append(d.RefersTo, r.BasePath)
				}
				if at := r.BasePath + "\x00" + r.Id; !seen[at] {
					seen[at] = true
					o.Runs++
					o.Entries += r.Entries
					o.Bytes += int64(r.Bytes)
					d.Files += len(r.Files)
				}
			}
		}
		d.Bytes += o.Bytes
		d.Operators = append(d.Operators, o)
	}
	if d.Files > 0 && !m.SelfContained {
		d.RefersTo = append(d.RefersTo, s.Base())
	}
	slices.Sort(d.RefersTo)
	d.RefersTo = slices.Compact(d.RefersTo)
	return d
}

func typeOf(m *metapb.CheckpointMetadata) string {
	switch {
	case !m.SelfContained:
		return "checkpoint"
	case m.Type == metapb.SnapshotType_SNAPSHOT_TYPE_NATIVE:
		return "savepoint-native"
	}
	return "savepoint-canonical"
}

func describeOperator(m *metapb.CheckpointMetadata, op *metapb.OperatorSnapshot) Operator {
	o := Operator{UID: op.Uid, Parallelism: int(op.Parallelism), KeyType: typeText(op.KeySchema), States: []State{}}
	names := map[uint32]string{}
	for _, id := range m.StateIds {
		if id.Uid == op.Uid {
			names[id.Id] = id.Name
		}
	}
	states := map[string]*State{}
	for _, sub := range op.Subtasks {
		for _, c := range sub.ChannelStates {
			o.InFlight += c.Records
		}
		if sub.Ended {
			o.Ended++
		}
		if list, err := listOf(sub); err == nil {
			o.Overlap = max(o.Overlap, list.Overlap())
		}
		keyed := map[uint32]int{}
		for _, c := range sub.Schemas { // ascending versions: the newest type stays
			keyed[c.StateId]++
			states[names[c.StateId]] = &State{
				Name: names[c.StateId], Kind: kindText(c.Kind), ID: c.StateId, Type: typeText(c.Schema),
				NamespaceType: typeText(c.NamespaceSchema), Versions: keyed[c.StateId],
			}
		}
		for _, st := range sub.OperatorStates {
			at := states[st.Name]
			if at == nil {
				at = &State{Name: st.Name, Kind: kindText(st.Kind), Type: typeText(st.Schema), Versions: 1}
				states[st.Name] = at
			}
			at.Entries += len(st.Entries)
		}
	}
	for _, st := range states {
		o.States = append(o.States, *st)
	}
	slices.SortFunc(o.States, func(a, b State) int { return cmp.Compare(a.Name, b.Name) })
	return o
}

// typeText is a schema in words, "" if there is none.
func typeText(schema []byte) string {
	if len(schema) == 0 {
		return ""
	}
	info, err := codec.Schema(schema).Parse()
	if err != nil {
		return "?"
	}
	if info.TypeName == info.Description || info.Description == "" {
		return info.TypeName
	}
	return info.TypeName + " " + info.Description
}

// List describes the snapshots below dir: dir itself, its folders, and theirs. Folders
// that hold none are passed over; what is damaged is described by its error.
func List(ctx context.Context, dir string) ([]Listed, error) {
	root, err := objstore.LocalPath(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	folders := []string{root}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		at := filepath.Join(root, e.Name())
		folders = append(folders, at)
		below, err := os.ReadDir(at)
		if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		for _, b := range below {
			if b.IsDir() {
				folders = append(folders, filepath.Join(at, b.Name()))
			}
		}
	}
	all := []Listed{}
	for _, f := range folders {
		if _, err := os.Stat(filepath.Join(f, metadata.FileName)); err != nil {
			continue
		}
		d, err := Describe(ctx, f)
		if errors.Is(err, ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			d = Description{Location: f}
		}
		all = append(all, Listed{d, err})
	}
	slices.SortStableFunc(all, func(a, b Listed) int { return a.TriggeredAt.Compare(b.TriggeredAt) })
	return all, nil
}

// Listed is a snapshot that List has found.
type Listed struct {
	Description
	Err error `json:"-"` // why only Location is known
}

// kindText is a kind of state in one word.
func kindText(k metapb.StateKind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "STATE_KIND_"))
}
