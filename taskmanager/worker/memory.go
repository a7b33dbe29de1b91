package worker

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/job"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend/heap"
	"github.com/weirstream/weir/statebackend/objstore"
	"github.com/weirstream/weir/statebackend/pebble"
	"github.com/weirstream/weir/statebackend/runlist"
	"github.com/weirstream/weir/statebackend/table"
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
	keyed  int       // subtasks that share memory.tables, as the newest deployment has it
	live   []*tables // of the deployments that live
}

// tables are the keyed states in memory of one deployment's subtasks.
type tables struct {
	grows bool // only: what is in memory can't go anywhere

	mu     sync.Mutex // stores are made by the subtasks' goroutines
	budget int64      // guarded by mu: of each, bytes
	stores []*table.Store
}

// add gives a new store its budget, from now on.
func (t *tables) add(s *table.Store) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.SetBudget(t.budget)
	t.stores = append(t.stores, s)
}

func (t *tables) set(budget int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grows {
		budget = max(budget, t.budget)
	}
	t.budget = budget
	for _, s := range t.stores {
		s.SetBudget(budget)
	}
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

// resize has the tables that live, and those to come, share m. The caches of those that live
// stay as they are: a slot's part of the worker's memory is the same however many slots it
// has.
func (b *backends) resize(m memory) {
	if b.kind == "heap" {
		m.tables, m.cache = m.tables+m.cache, 0 // nothing is cached: it is all in the tables
	}
	b.memory = m
	b.share()
	if b.kind != "pebble" || b.shared != nil && b.shared.cache == m.cache {
		return
	}
	if b.shared != nil {
		b.old = append(b.old, b.shared)
	}
	b.shared = &shared{Shared: pebble.NewShared(m.cache), cache: m.cache}
	b.sweep()
}

// newTables are those of a deployment.
func (b *backends) newTables() *tables { return &tables{grows: b.kind == "heap"} }

// budget is one keyed subtask's part of the tables' memory, bytes. The copies of its cuts
// have theirs beside it.
func (b *backends) budget() int64 {
	return int64(float64(b.memory.tables)*(1-copiesShare)) / int64(max(1, b.keyed))
}

// share gives each table that lives its part: one that had memory to itself must not keep it
// when others come, and is not to do without what others have left.
func (b *backends) share() {
	for _, t := range b.live {
		t.set(b.budget())
	}
}

// take is called for a deployment that begins, with its tables, give with what it has taken
// when it is over. From now on keyed subtasks share the tables' memory.
func (b *backends) take(t *tables, keyed int) *shared {
	b.live, b.keyed = append(b.live, t), keyed
	b.share()
	if b.shared != nil {
		b.shared.users++
	}
	return b.shared
}

func (b *backends) give(t *tables, s *shared) {
	b.live = slices.DeleteFunc(b.live, func(l *tables) bool { return l == t })
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
// and notes it in all; see take. A run of up to inline bytes travels in an ack instead of a
// file. Any goroutine may call what it returns.
func (b *backends) factory(store objstore.Store, attempt job.Attempt, worker uint64, all *tables, inline int64) func(task.BackendConfig) (task.Backend, error) {
	packer := runlist.NewPacker(store, attempt.String(), worker)
	mine := b.shared
	return func(c task.BackendConfig) (task.Backend, error) {
		store := store
		dir := filepath.Join(b.dir, attempt.String(), fmt.Sprintf("v%d-%d", int(c.Subtask.Vertex), c.Subtask.Index))
		runs := filepath.Join(dir, "runs")
		if err := os.MkdirAll(runs, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for runs: %w", err)
		}
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
			h, err := heap.New(heap.Options{Table: c.Table, Runs: list})
			if err != nil {
				return nil, err
			}
			all.add(h.Store())
			return h, nil
		}
		p, err := pebble.New(pebble.Options{Table: c.Table, Runs: list, Shared: mine.Shared, Dir: filepath.Join(dir, "cold")})
		if err != nil {
			return nil, err
		}
		all.add(p.Store())
		return p, nil
	}
}
