package main

import (
	"encoding/binary"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// event is a record of count.
type event struct{ Key, Value uint64 }

// counted is an update: the count of a key after one more record of it.
type counted struct{ Key, Count uint64 }

func declareCount(env *weir.Env, p params) {
	source := generator.Range(int64(p.n), func(i uint64) event { return event{mix(i) % p.keys, i} }, p.source...)
	env.From("events", source).
		KeyBy(func(e event) uint64 { return e.Key }).
		Process("count", func(s *weir.Setup) *counter { return newCounter(s, p.pad) }).
		To("sums", sums[counted]{word: func(c counted) uint64 { return countWord(c.Key, c.Count) }, rate: p.sinkRate})
}

// counter counts by key.
type counter struct {
	count   *weir.Value[uint64]
	padding *weir.Value[[]byte] // nil without --pad
	pad     []byte
}

func newCounter(s *weir.Setup, pad int) *counter {
	c := &counter{count: s.Value[uint64]("count")}
	if pad > 0 {
		c.padding = s.Value[[]byte]("padding")
		c.pad = make([]byte, (pad+7)&^7)[:pad]
	}
	return c
}

// Process implements weir.Processor.
func (c *counter) Process(_ *weir.Ctx[uint64], e event, out *weir.Collector[counted]) error {
	n, _ := c.count.Get()
	n++
	c.count.Set(n)
	if c.padding != nil {
		fill(c.pad, e.Value)
		c.padding.Set(c.pad)
	}
	out.Emit(counted{e.Key, n})
	return nil
}

// fill writes s = mix(s) over and over into b, little endian.
func fill(b []byte, s uint64) {
	whole := b[:cap(b)&^7]
	for i := 0; i < len(whole); i += 8 {
		s = mix(s)
		binary.LittleEndian.PutUint64(whole[i:], s)
	}
}
