package worker

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/taskmanager/task"
)

// Division of a worker's memory (architecture: memory model).
const (
	exchangeShare = 0.15 // records between subtasks
	slackShare    = 0.10 // Go and user code
	cacheShare    = 0.20 // of what is left: Pebble's block cache
	// copiesShare of what the tables have is for the copies of the cut being written: at
	// worst every entry is dirty, and copied. It is a little less than half, because a
	// copy has no slack.
	copiesShare = 0.45
)

// defaultMemory is taken where the agent names no memory: local mode without a limit.
const defaultMemory = 2 << 30

// memory is a worker's share of the TaskManager's, divided. Bytes.
type memory struct {
	exchange int64
	tables   int64 // keyed state in memory, all subtasks together
	cache    int64 // of the cold tiers
}

func divideMemory(total int64) memory {
	total = cmp.Or(total, defaultMemory)
	rest := int64(float64(total) * (1 - exchangeShare - slackShare))
	cache := int64(float64(rest) * cacheShare)
	return memory{exchange: int64(float64(total) * exchangeShare), tables: rest - cache, cache: cache}
}

func settingsOf(all []*metapb.Setting) map[string]string {
	m := map[string]string{}
	for _, s := range all {
		m[s.Key] = s.Value
	}
	return m
}

// backends makes the keyed state of the worker's subtasks.
type backends struct {
	kind   string // state.backend.type
	memory memory
	dir    string
	shared *shared   // of deployments to come; nil with heap
	old    []*shared // of those that live still
}

// shared is what the cold tiers of some deployments share.
type shared struct {
	*pebble.Shared
	cache int64 // bytes
	users int   // deployments
}

func newBackends(settings map[string]string, m memory, dir string) (*backends, error) {
	b := &backends{kind: cmp.Or(settings["state.backend.type"], "pebble"), dir: dir}
	switch b.kind {
	case "heap", "hashmap":
		b.kind = "heap"
	case "pebble", "rocksdb":
		b.kind = "pebble"
	default:
		return nil, fmt.Errorf("state.backend.type is %q; want heap or pebble", b.kind)
	}
	b.resize(m)
	return b, nil
}

// resize has the deployments to come share m. Those that live keep what they have: a slot's
// part of the worker's memory is the same however many slots it has.
func (b *backends) resize(m memory) {
	if b.kind == "heap" {
		m.tables, m.cache = m.tables+m.cache, 0 // nothing is cached: it is all in the tables
	}
	b.memory = m
	if b.kind != "pebble" || b.shared != nil && b.shared.cache == m.cache {
		return
	}
	if b.shared != nil {
		b.old = append(b.old, b.shared)
	}
	b.shared = &shared{Shared: pebble.NewShared(m.cache), cache: m.cache}
	b.sweep()
}

// take is called for a deployment that begins, give with what it has taken when it is over.
func (b *backends) take() *shared {
	if b.shared != nil {
		b.shared.users++
	}
	return b.shared
}

func (b *backends) give(s *shared) {
	if s != nil {
		s.users--
		b.sweep()
	}
}

// sweep closes what nobody uses any more.
func (b *backends) sweep() {
	b.old = slices.DeleteFunc(b.old, func(s *shared) bool {
		if s.users == 0 {
			s.Close()
		}
		return s.users == 0
	})
}

func (b *backends) close() {
	for _, s := range append(b.old, b.shared) {
		if s != nil {
			s.Close()
		}
	}
}

// memoryChanged: the job has more slots here than before, or less.
type memoryChanged struct{ bytes int64 }

func (e *memoryChanged) handle(w *Worker) {
	w.memory = divideMemory(e.bytes)
	if w.o.SetMemory != nil && e.bytes > 0 {
		w.o.SetMemory(e.bytes)
	}
	if w.backends != nil {
		w.backends.resize(w.memory)
	}
}

// factory makes the keyed state of the subtasks of one attempt in the worker of that number,
// keyed many of which share the memory. A run of up to inline bytes travels in an ack
// instead of a file.
func (b *backends) factory(store objstore.Store, attempt job.Attempt, worker uint64, keyed int, inline int64) func(task.BackendConfig) (task.Backend, error) {
	packer := runlist.NewPacker(store, attempt.String(), worker)
	mine, memory := b.shared, b.memory
	return func(c task.BackendConfig) (task.Backend, error) {
		dir := filepath.Join(b.dir, attempt.String(), fmt.Sprintf("v%d-%d", int(c.Subtask.Vertex), c.Subtask.Index))
		runs := filepath.Join(dir, "runs")
		if err := os.MkdirAll(runs, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for runs: %w", err)
		}
		c.Table.Budget = int64(float64(memory.tables)*(1-copiesShare)) / int64(max(1, keyed))
		if s, ok := store.(*inlineOnly); ok {
			store = s.of(c.UID, c.Subtask.Index)
		}
		list := runlist.Options{
			Dir: runs, Store: store, Attempt: attempt.String(), Operator: fmt.Sprintf("%08x", uint32(codec.HashBytes([]byte(c.UID)))), Subtask: c.Subtask.Index,
			InlineLimit: inline, Packer: packer,
		}
		if _, ok := store.(*inlineOnly); ok {
			list.MemoryLimit, list.Packer = inline, nil
		}
		if b.kind == "heap" {
			return heap.New(heap.Options{Table: c.Table, Runs: list})
		}
		return pebble.New(pebble.Options{Table: c.Table, Runs: list, Shared: mine.Shared, Dir: filepath.Join(dir, "cold")})
	}
}
