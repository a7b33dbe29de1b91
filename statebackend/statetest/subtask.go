package statetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/codec"
	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/statebackend/table"
	"github.com/weirstream/weir/stream"
)

// Backend is what the task loop wants of a state backend.
type Backend interface {
	Store() *table.Store
	Restore(ctx context.Context, from []statebackend.Restored) error
	Freeze(id stream.CheckpointID) (statebackend.Snapshot, error)
	Advance(budget int) (busy bool)
	Failed(s statebackend.Snapshot)
	Confirm(id stream.CheckpointID)
	Close() error
}

// subtask is one backend with a state of each kind.
type subtask struct {
	t     *testing.T
	b     Backend
	key   codec.Key[string]
	num   *table.Value[int64]
	text  *table.Value[string]
	list  *table.List[string]
	dict  *table.Map[string, int64]
	timer *table.Timers
}

func newSubtask(t *testing.T, b Backend, as layouts) *subtask {
	t.Helper()
	s := &subtask{t: t, b: b, key: keyCodec}
	desc := func(id statebackend.StateID, name string, k metapb.StateKind, schema codec.Schema) statebackend.Descriptor {
		return statebackend.Descriptor{ID: id, Name: name, Kind: k, ValueSchema: schema}
	}
	var errs [5]error
	st := b.Store()
	s.num, errs[0] = table.NewValue(st, desc(9, "num", metapb.StateKind_STATE_KIND_VALUE, as.num.Schema()), as.num)
	s.text, errs[1] = table.NewValue(st, desc(1, "text", metapb.StateKind_STATE_KIND_VALUE, as.text.Schema()), as.text)
	s.list, errs[2] = table.NewList(st, desc(300, "list", metapb.StateKind_STATE_KIND_LIST, as.text.Schema()), as.text)
	dict := desc(2, "dict", metapb.StateKind_STATE_KIND_MAP, as.num.Schema())
	dict.NamespaceSchema = keyCodec.Schema()
	s.dict, errs[3] = table.NewMap(st, dict, keyCodec, as.num)
	s.timer, errs[4] = table.NewTimers(st, desc(4, "timer", metapb.StateKind_STATE_KIND_TIMER, nil))
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var keyCodec = must(codec.ForKey[string]())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *subtask) set(k string) {
	hash := s.key.Hash(k)
	if !s.b.Store().Owns(hash) {
		s.t.Fatalf("key %q came to the wrong subtask (I16)", k)
	}
	s.b.Store().SetKey(hash, s.key.Append(nil, k))
}

// op does one random operation on key k, to the state and to the model.
func (s *subtask) op(r *rand.Rand, k string, m *Model) {
	s.set(k)
	text := strings.Repeat("x", r.IntN(60)) + fmt.Sprint(r.IntN(1000))
	sub := fmt.Sprint(r.IntN(20))
	switch r.IntN(18) {
	case 0, 1, 2, 3:
		s.num.Update(func(v int64, ok bool) int64 {
			if want, has := m.Num[k]; has != ok || v != want {
				s.t.Fatalf("num of %q = %d, %v; want %d, %v", k, v, ok, want, has)
			}
			m.Num[k] = v + 1
			return v + 1
		})
	case 4:
		s.num.Clear()
		delete(m.Num, k)
	case 5, 6:
		s.text.Set(text)
		m.Text[k] = text
	case 7:
		s.text.Clear()
		delete(m.Text, k)
	case 8, 9, 16, 17: // mostly without having read it: an operand where it lies below
		s.list.Append(text)
		m.List[k] = append(m.List[k], text)
	case 10:
		switch r.IntN(4) {
		case 0:
			s.list.Clear()
			delete(m.List, k)
		case 1:
			s.list.Replace([]string{text})
			m.List[k] = []string{text}
		case 2:
			if got := s.list.Len(); got != len(m.List[k]) {
				s.t.Fatalf("list of %q has %d elements, want %d", k, got, len(m.List[k]))
			}
			s.list.Append(text, sub)
			m.List[k] = append(m.List[k], text, sub)
		case 3:
			s.list.Append(text, sub)
			m.List[k] = append(m.List[k], text, sub)
		}
	case 11, 12:
		v := r.Int64()
		s.dict.Set(sub, v)
		inner(m.Dict, k)[sub] = v
	case 13:
		s.dict.Delete(sub)
		delete(inner(m.Dict, k), sub)
	case 14:
		at := int64(r.IntN(400))
		s.timer.Register(at)
		inner(m.Timer, k)[at] = true
	case 15:
		if r.IntN(4) == 0 {
			s.dict.Clear()
			delete(m.Dict, k)
			return
		}
		for at := range m.Timer[k] {
			s.timer.Delete(at)
			delete(m.Timer[k], at)
			break
		}
	}
}

// fire takes all due timers out (I18).
func (s *subtask) fire(now int64, m *Model) {
	for {
		d, ok := s.timer.Due(now)
		if !ok {
			return
		}
		k, _, err := s.key.Decode(d.Enc)
		if err != nil {
			s.t.Fatal(err)
		}
		if !m.Timer[k][d.At] || d.At > now {
			s.t.Fatalf("timer of %q at %d fired at %d; registered are %v (I18)", k, d.At, now, m.Timer[k])
		}
		delete(m.Timer[k], d.At)
	}
}

// check compares all states of key k with the model (I17).
func (s *subtask) check(k string, m *Model) {
	s.t.Helper()
	s.set(k)
	v, ok := s.num.Get()
	if want, has := m.Num[k]; ok != has || v != want {
		s.t.Fatalf("num of %q = %d, %v; want %d, %v", k, v, ok, want, has)
	}
	text, ok := s.text.Get()
	if want, has := m.Text[k]; ok != has || text != want {
		s.t.Fatalf("text of %q = %q, %v; want %q, %v", k, text, ok, want, has)
	}
	if got := slices.Collect(s.list.All()); !slices.Equal(got, m.List[k]) {
		s.t.Fatalf("list of %q = %q, want %q", k, got, m.List[k])
	}
	if got := maps.Collect(s.dict.All()); !maps.Equal(got, m.Dict[k]) || s.dict.Len() != len(got) {
		s.t.Fatalf("dict of %q = %v (Len %d), want %v", k, got, s.dict.Len(), m.Dict[k])
	}
}
