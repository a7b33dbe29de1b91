package pebble

import (
	"runtime"
	"sync"
	"sync/atomic"

	pdb "github.com/cockroachdb/pebble/v2"
)

// turns lets one compaction run at a time, of all the databases that share it.
type turns struct {
	mu struct {
		sync.Mutex
		running int
		gates   []*gate
		turn    int // gate that is asked first
	}
}

// gate is one database's way to a turn. It is shut until Open has returned:
// Open waits for a compaction that it has started (400–590 ms against 2.5 ms).
type gate struct {
	s    *turns
	db   pdb.DBForCompaction // immutable after Register
	debt debt

	mu struct {
		sync.Mutex
		open    bool
		closed  bool
		calling int // calls of db that Unregister waits for
	}
	idle sync.Cond
}

func (s *turns) newGate() *gate {
	g := &gate{s: s}
	g.idle.L = &g.mu
	return g
}

// admit opens the gate and runs what has waited.
func (g *gate) admit() {
	g.mu.Lock()
	g.mu.open = true
	g.mu.Unlock()
	g.s.grant()
}

// Register implements pdb.CompactionScheduler.
func (g *gate) Register(_ int, db pdb.DBForCompaction) {
	g.db = db
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.s.mu.gates = append(g.s.mu.gates, g)
}

// Unregister implements pdb.CompactionScheduler.
func (g *gate) Unregister() {
	g.s.mu.Lock()
	for i, o := range g.s.mu.gates {
		if o == g {
			g.s.mu.gates = append(g.s.mu.gates[:i], g.s.mu.gates[i+1:]...)
			break
		}
	}
	g.s.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.closed = true
	for g.mu.calling > 0 {
		g.idle.Wait()
	}
}

// TrySchedule implements pdb.CompactionScheduler.
func (g *gate) TrySchedule() (bool, pdb.CompactionGrantHandle) {
	g.mu.Lock()
	admitted := g.mu.open && !g.mu.closed
	g.mu.Unlock()
	if admitted && g.s.take() {
		return true, g
	}
	return false, nil
}

// UpdateGetAllowedWithoutPermission implements pdb.CompactionScheduler.
func (g *gate) UpdateGetAllowedWithoutPermission() {}

// Started implements pdb.CompactionGrantHandle.
func (g *gate) Started() {}

// MeasureCPU implements pdb.CompactionGrantHandle.
func (g *gate) MeasureCPU(pdb.CompactionGoroutineKind) {}

// CumulativeStats implements pdb.CompactionGrantHandle. Pebble calls it after each 128
// entries, some 150 µs of work, and lets it wait.
func (g *gate) CumulativeStats(pdb.CompactionGrantHandleStats) {
	if !g.debt.urgent() {
		runtime.Gosched()
	}
}

// debt counts the runs that were ingested since the last compaction ended. A compaction must
// not delay records: Go would let it have a processor for 10 ms, which is what a record then
// waits. So it yields, as the writers of runs do, and has what nobody else wants, of the
// processors and so of the disk: there is no bound of bytes a second beside that. But on a host
// that has nothing to spare it would get nowhere, and each run that it should have merged
// costs each read of a key 0.4 µs. Above owed runs, and when the tier is to be closed,
// which waits for it, it takes its share like anybody else.
type debt struct{ runs atomic.Int64 }

const (
	owed    = 32
	closing = 1 << 32
)

func (d *debt) urgent() bool { return d.runs.Load() > owed }

// Done implements pdb.CompactionGrantHandle.
func (g *gate) Done() {
	g.debt.runs.Store(0)
	g.s.release()
	g.s.grant()
}

func (s *turns) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.running > 0 {
		return false
	}
	s.mu.running++
	return true
}

func (s *turns) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.running--
}

// grant gives a turn to a database that waits for one, in turn.
func (s *turns) grant() {
	s.mu.Lock()
	gates := append([]*gate(nil), s.mu.gates...)
	s.mu.turn++
	turn := s.mu.turn
	s.mu.Unlock()
	for i := range gates {
		g := gates[(turn+i)%len(gates)]
		if g.offer() {
			return
		}
	}
}

// offer schedules g's compaction if it has one and no other runs; it reports
// whether it did.
func (g *gate) offer() bool {
	g.mu.Lock()
	if !g.mu.open || g.mu.closed {
		g.mu.Unlock()
		return false
	}
	g.mu.calling++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.mu.calling--
		g.idle.Broadcast()
		g.mu.Unlock()
	}()
	if waiting, _ := g.db.GetWaitingCompaction(); !waiting || !g.s.take() {
		return false
	}
	if !g.db.Schedule(g) {
		g.s.release()
		return false
	}
	return true
}
