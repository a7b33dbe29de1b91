package table

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/evolution"
	"github.com/weirstream/weir/statebackend/table/bloom"
	"github.com/weirstream/weir/stream"
)

// Options configures a Store.
type Options struct {
	// Range is what the subtask owns.
	Range stream.KeyGroupRange
	// KeyWidth is the fixed width of an encoded key in bytes, 1..8: the key is kept as
	// a word. 0: keys are bytes.
	KeyWidth int
	// KeyLen returns the length of the encoded key at the head of b. Needed for map
	// state under keys of bytes; see KeyLenOf.
	KeyLen func(b []byte) (int, error)
	// Budget is the memory for entries in bytes; 0 means no bound. SetBudget changes it.
	Budget int64
	// Cold is the tier below; nil: none, and exceeding Budget is an error.
	Cold Cold
	// Fail is called once, with the first error, by the goroutine that uses the
	// handles. It must stop the loop before the next record.
	Fail func(error)
}

// Cold is the tier below the table. Its methods are called by the mailbox
// goroutine only.
type Cold interface {
	// Get appends the value of the newest version of key to dst; ok is false if there
	// is none or a tombstone.
	Get(dst, key []byte) (value []byte, ok bool, err error)
	// GetMany calls f, one call at a time, with the value of each key as Get gives it, valid
	// during the call; keys are sorted. It may read several at a time.
	GetMany(keys [][]byte, f func(i int, value []byte, ok bool) error) error
	// Scan calls f for each live key with the prefix, in order, until f returns false.
	Scan(prefix []byte, f func(key, value []byte) bool) error
	// Walk calls f for each live key in [from, to), in order, until f returns false. A
	// walk that begins with the key at which the last one ended costs no search. It
	// sees all that was ingested before the call.
	Walk(from, to []byte, f func(key, value []byte) bool) error
}

// Store holds the keyed states of one subtask. Only the subtask's mailbox
// goroutine may use it; what it hands to other goroutines is a Cut.
type Store struct {
	// Immutable after New.
	opt     Options
	shift   uint8 // a bundle is 1<<shift key groups
	first   int   // number of the first bundle, counted from group 0
	bundles int
	evicts  bool // there is a cold tier

	budget atomic.Int64 // bytes; 0: no bound

	// The current key. gen changes with it; handles that cached a slot compare it.
	hash uint64
	word uint64
	enc  []byte
	gen  uint64

	states  []state // in order of creation
	listing evolution.Listing
	spilled []bool       // by bundle: the cold tier may hold keys that the table does not
	below   []*bloom.Set // by bundle, if spilled: the keys that it holds; nil: not known
	ahead   ahead
	loading loading
	timers  timersBelow

	seq    uint64  // cuts so far
	cut    *Cut    // being copied
	flying uint8   // bit t set: the cut with tag t is neither durable nor failed
	cuts   [8]*Cut // by tag, those that fly

	memory int64  // bytes of all states, slack included
	warmed uint64 // keeps the loads of Warm from being optimised away
	err    error
	key    []byte // scratch for full keys
	value  []byte // scratch for cold values
	ns     []byte // scratch for composite keys
}

// state is what the store asks of its tables.
type state interface {
	desc() statebackend.Descriptor
	evolving() evolution.State
	evolved(r evolution.Reader)
	bytes() int64
	warm(hashes []uint64) uint64
	entries() int
	freeze(full bool) part
	copyFrozen(limit int) (copied int, done bool)
	load(group stream.KeyGroup, rest, value []byte, again bool) error
	resident() bool
	opened(b int) // all of bundle b's entries of a resident state are in memory
	lookAhead(hash, word uint64, enc []byte) bool
	arrived(hash, word uint64, enc, value []byte, ok bool) error
	newPart() part
	cutBundle(b int)
	dropClean(b int) (dropped int)
	requeue(p part)
	completeBelow(b, limit int) (n int)
}

// New returns an empty store.
func New(o Options) *Store {
	if o.KeyWidth < 0 || o.KeyWidth > 8 {
		panic(fmt.Sprintf("weir: BUG: key width %d", o.KeyWidth))
	}
	s := &Store{opt: o, gen: 1, evicts: o.Cold != nil}
	s.budget.Store(o.Budget)
	// A bundle is a power-of-two block of key groups such that the range has 64 to 128
	// of them (fewer if it has fewer groups).
	if n := o.Range.Size(); n > 64 {
		s.shift = uint8(bits.Len(uint(n/64)) - 1)
	}
	s.first = int(o.Range.First) >> s.shift
	s.bundles = int(o.Range.Last)>>s.shift - s.first + 1
	s.spilled = make([]bool, s.bundles)
	s.below = make([]*bloom.Set, s.bundles)
	return s
}

// Range is what the subtask owns.
func (s *Store) Range() stream.KeyGroupRange { return s.opt.Range }

// Owns reports whether a key with this hash belongs to the subtask. A record for
// which it does not must fail the job: its key is not deterministic.
func (s *Store) Owns(hash uint64) bool { return s.opt.Range.Contains(stream.GroupOf(hash)) }

// SetWord makes the current key the one whose encoding is word, as a big-endian
// integer of KeyWidth bytes. hash is the xxh3-64 of the encoding.
func (s *Store) SetWord(hash, word uint64) {
	s.hash, s.word = hash, word
	s.gen++
}

// SetKey makes the current key enc, of a store whose keys are bytes. enc must stay
// unchanged until the next key is set; it is copied when an entry is made.
func (s *Store) SetKey(hash uint64, enc []byte) {
	s.hash, s.enc = hash, enc
	s.gen++
}

// Err is the first error that a handle or the cold tier met.
func (s *Store) Err() error { return s.err }

// Memory is the bytes that all states take, with their slack.
func (s *Store) Memory() int64 { return s.memory }

// Budget is the memory for entries now, in bytes; 0: no bound.
func (s *Store) Budget() int64 { return s.budget.Load() }

// SetBudget changes it. Any goroutine may call it; what is above a smaller budget leaves as
// always, with the next Advance of the backend.
func (s *Store) SetBudget(bytes int64) { s.budget.Store(bytes) }

// Descriptors returns the states in the order of their creation.
func (s *Store) Descriptors() []statebackend.Descriptor {
	ds := make([]statebackend.Descriptor, len(s.states))
	for i, t := range s.states {
		ds[i] = t.desc()
	}
	return ds
}

// MarkSpilled says that the cold tier holds keys of every bundle that the table
// does not.
func (s *Store) MarkSpilled() {
	for i := range s.spilled {
		s.spilled[i] = true
	}
	s.timers.mark(s)
}

// Fail keeps err as the store's error, as if a handle had met it: the cold tier
// could not be written.
func (s *Store) Fail(err error) { s.fail(err) }

func (s *Store) fail(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if s.opt.Fail != nil {
		s.opt.Fail(err)
	}
}

func (s *Store) add(st state) error {
	d := st.desc()
	if err := d.Validate(); err != nil {
		return fmt.Errorf("declare keyed state: %w", err)
	}
	for _, o := range s.states {
		if o.desc().ID == d.ID || o.desc().Name == d.Name {
			return fmt.Errorf("declare keyed state %q (id %d): state %q has id %d", d.Name, d.ID, o.desc().Name, o.desc().ID)
		}
	}
	s.states = append(s.states, st)
	return nil
}

// grew accounts n bytes to st and fails the store when nothing can be evicted.
func (s *Store) grew(st state, n int64) {
	s.memory += n
	if n > 0 && s.opt.Cold == nil && s.err == nil {
		if budget := s.Budget(); budget > 0 && s.memory > budget {
			s.fail(s.budgetError(st))
		}
	}
}

func (s *Store) budgetError(last state) error {
	largest := last
	for _, t := range s.states {
		if t.bytes() > largest.bytes() {
			largest = t
		}
	}
	return fmt.Errorf("state %q takes %d of %d bytes, the budget of the subtask is %d bytes: %w (raise taskmanager.memory.process.size, or use state.backend.type: pebble)",
		largest.desc().Name, largest.bytes(), s.memory, s.Budget(), statebackend.ErrBudget)
}

// bundleOf is the index of the bundle that hash falls in.
func (s *Store) bundleOf(hash uint64) int { return int(hash>>48>>s.shift) - s.first }

// bundleOfGroup is the index of the bundle that a group lies in.
func (s *Store) bundleOfGroup(g stream.KeyGroup) int { return int(g)>>s.shift - s.first }

// groupsOf is the range of key groups of bundle b that the subtask owns.
func (s *Store) groupsOf(b int) stream.KeyGroupRange {
	lo, hi := (s.first+b)<<s.shift, (s.first+b+1)<<s.shift-1
	r, _ := stream.KeyGroupRange{First: stream.KeyGroup(lo), Last: stream.KeyGroup(hi)}.Intersect(s.opt.Range)
	return r
}

// appendKey appends the current key's encoding.
func (s *Store) appendKey(dst []byte) []byte {
	if s.opt.KeyWidth == 0 {
		return append(dst, s.enc...)
	}
	return appendWord(dst, s.word, s.opt.KeyWidth)
}

func appendWord(dst []byte, word uint64, width int) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], word)
	return append(dst, b[8-width:]...)
}

func wordOf(b []byte) (w uint64) {
	for _, c := range b {
		w = w<<8 | uint64(c)
	}
	return w
}

// appendPrefix appends the head of a full key: group and state id.
func appendPrefix(dst []byte, group stream.KeyGroup, id statebackend.StateID) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(group))
	return binary.BigEndian.AppendUint32(dst, uint32(id))
}

// Entries is the number of entries with a value in memory, of all states.
func (s *Store) Entries() (n int) {
	for _, t := range s.states {
		n += t.entries()
	}
	return n
}

// complete reports whether memory holds every entry: nothing lies only below.
func (s *Store) complete() bool { return !slices.Contains(s.spilled, true) && s.timers.left == 0 }
