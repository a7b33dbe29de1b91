package table

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/weirstream/weir/proto/metapb"
	"github.com/weirstream/weir/statebackend"
	"github.com/weirstream/weir/stream"
)

func desc(id statebackend.StateID, name string, k metapb.StateKind) statebackend.Descriptor {
	return statebackend.Descriptor{ID: id, Name: name, Kind: k}
}

const benchKeys = 1 << 20

func wordKey(i uint64) (hash, word uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], i)
	return xxh3.Hash(b[:]), i
}

// sequence is a random order of keys with their hashes, as a batch brings them.
func sequence(n int) (hashes, words []uint64) {
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		h, w := wordKey(r.Uint64N(benchKeys))
		hashes, words = append(hashes, h), append(words, w)
	}
	return hashes, words
}

// BenchmarkBaseline is the table somebody would write by hand for this one job.
func BenchmarkBaseline(b *testing.B) {
	type pair struct{ key, val uint64 }
	table := make([]pair, 2*benchKeys)
	at := func(h, k uint64) *pair {
		i := h & uint64(len(table)-1)
		for table[i].key != 0 && table[i].key != k {
			i = (i + 1) & uint64(len(table)-1)
		}
		table[i].key = k
		return &table[i]
	}
	hashes, words := sequence(1 << 20)
	for i := range uint64(benchKeys) {
		h, w := wordKey(i)
		at(h, w+1)
	}
	b.ResetTimer()
	for i := range b.N {
		j := i & (1<<20 - 1)
		at(hashes[j], words[j]+1).val++
	}
}

func BenchmarkValueWord(b *testing.B) {
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		b.Fatal(err)
	}
	hashes, words := sequence(1 << 20)
	for i := range uint64(benchKeys) {
		s.SetWord(wordKey(i))
		v.Set(1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		j := i & (1<<20 - 1)
		s.SetWord(hashes[j], words[j])
		x, _ := v.Get()
		v.Set(x + 1)
	}
	b.ReportMetric(float64(s.Memory())/benchKeys, "B/key")
}

func BenchmarkValueString(b *testing.B) {
	s := New(Options{Range: stream.AllKeyGroups})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([][]byte, benchKeys)
	hashes := make([]uint64, benchKeys)
	slab := make([]byte, 0, 10*benchKeys)
	for i := range keys {
		from := len(slab)
		slab = append(fmt.Appendf(slab, "%08d", i), 0, 1)
		keys[i] = slab[from:]
		hashes[i] = xxh3.Hash(keys[i])
		s.SetKey(hashes[i], keys[i])
		v.Set(1)
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(keys), func(i, j int) {
		keys[i], keys[j] = keys[j], keys[i]
		hashes[i], hashes[j] = hashes[j], hashes[i]
	})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		j := i & (benchKeys - 1)
		s.SetKey(hashes[j], keys[j])
		x, _ := v.Get()
		v.Set(x + 1)
	}
	b.ReportMetric(float64(s.Memory())/benchKeys, "B/key")
}

type nullSink struct{ n, bytes int }

func (s *nullSink) Set(k, v []byte) error { s.n++; s.bytes += len(k) + len(v); return nil }
func (s *nullSink) Merge(k, v []byte) error {
	return s.Set(k, v)
}
func (s *nullSink) Delete(k []byte) error { s.n++; return nil }

// BenchmarkCut measures the two halves of a cut of 1 M entries, without the run.
func BenchmarkCut(b *testing.B) {
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		b.StopTimer()
		for i := range uint64(benchKeys) {
			s.SetWord(wordKey(i))
			v.Set(1)
		}
		b.StartTimer()
		c, err := s.Freeze(false)
		if err != nil {
			b.Fatal(err)
		}
		for !s.CopyFrozen(4096) {
		}
		copied := b.Elapsed()
		var sink nullSink
		if err := c.Encode(&sink); err != nil {
			b.Fatal(err)
		}
		if sink.n != benchKeys {
			b.Fatalf("%d entries", sink.n)
		}
		s.Durable(c)
		_ = copied
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchKeys, "ns/entry")
}

// BenchmarkCopy is the mailbox's half of BenchmarkCut.
func BenchmarkCopy(b *testing.B) {
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		b.StopTimer()
		for i := range uint64(benchKeys) {
			s.SetWord(wordKey(i))
			v.Set(1)
		}
		b.StartTimer()
		c, err := s.Freeze(false)
		if err != nil {
			b.Fatal(err)
		}
		for !s.CopyFrozen(4096) {
		}
		s.Durable(c)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchKeys, "ns/entry")
}

// BenchmarkValueWarm is BenchmarkValueWord for a loop that knows the hashes of
// a batch.
func BenchmarkValueWarm(b *testing.B) {
	s := New(Options{Range: stream.AllKeyGroups, KeyWidth: 8})
	v, err := NewValue(s, desc(1, "n", metapb.StateKind_STATE_KIND_VALUE), int64Codec{})
	if err != nil {
		b.Fatal(err)
	}
	hashes, words := sequence(1 << 20)
	for i := range uint64(benchKeys) {
		s.SetWord(wordKey(i))
		v.Set(1)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		j := i & (1<<20 - 1)
		if j&31 == 0 {
			s.Warm(hashes[j : j+32])
		}
		s.SetWord(hashes[j], words[j])
		x, _ := v.Get()
		v.Set(x + 1)
	}
}
