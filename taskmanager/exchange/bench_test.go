package exchange

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
)

// BenchmarkShuffle is a hash shuffle of two producers to two consumers; an op is one
// record. cpu-ns/op is the processor time of both sides together, hashing included.
func BenchmarkShuffle(b *testing.B) {
	for _, c := range []struct {
		name string
		p    placement
		w    wire
	}{
		{"local", alone(2, 2), wire{}},
		{"unix", placement{[]string{"a", "a"}, []string{"b", "b"}}, wire{}},
		{"tcp", placement{[]string{"a", "a"}, []string{"b", "b"}}, wire{tcp: true}},
	} {
		b.Run("pair/"+c.name, func(b *testing.B) {
			benchShuffle(b, c.p, c.w, pairEdge(b), func(n, from int) pair {
				return pair{Key: uint64(n)*2 + uint64(from), Value: 1}
			})
		})
		words := make([]string, 1<<12)
		for i := range words {
			words[i] = fmt.Sprintf("word-%06d", i)
		}
		b.Run("string/"+c.name, func(b *testing.B) {
			benchShuffle(b, c.p, c.w, stringEdge(b), func(n, from int) string {
				return words[(n+from)&(len(words)-1)]
			})
		})
	}
}

func benchShuffle[T any](b *testing.B, p placement, w wire, e *Edge[T], record func(n, from int) T) {
	s := fabrics(b, graphOf(len(p.from), len(p.to), hash), p, w)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, name := range p.from {
		out := newProducer(b, s[name].Fabric, i, e)
		all.Go(func() {
			<-start
			for n := range b.N / len(p.from) {
				out.emit(record(n, i))
			}
			out.Broadcast(endOfInput)
		})
	}
	received := make([]int, len(p.to))
	for i, name := range p.to {
		c := newConsumer(b, s[name].Fabric, i, e, nil)
		n := 0
		c.got = func(T) { n++ }
		all.Go(func() {
			c.untilEnd()
			received[i] = n
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	close(start)
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
	total := 0
	for _, n := range received {
		total += n
	}
	if want := b.N / len(p.from) * len(p.from); total != want {
		b.Fatalf("%d records arrived, want %d", total, want)
	}
}

func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkFlush is the way of a single record: emitted, flushed, consumed, and the
// consumer's answer by a Go channel.
func BenchmarkFlush(b *testing.B) {
	for _, c := range []struct {
		name string
		p    placement
		w    wire
	}{
		{"local", alone(1, 1), wire{}},
		{"unix", apart, wire{}},
		{"tcp", apart, wire{tcp: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := fabrics(b, graphOf(1, 1, hash), c.p, c.w)
			e := pairEdge(b)
			out := newProducer(b, s[c.p.from[0]].Fabric, 0, e)
			answer := make(chan struct{}, 1)
			in := newConsumer(b, s[c.p.to[0]].Fabric, 0, e, func(pair) { answer <- struct{}{} })
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				in.untilEnd()
			}()
			out.await()
			for b.Loop() {
				out.emit(pair{})
				out.Flush()
				<-answer
			}
			out.Broadcast(endOfInput)
			<-ended
		})
	}
}
