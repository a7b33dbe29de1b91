package exchange

import (
	"testing"

	"github.com/weirstream/weir/internal/memnet"
)

// BenchmarkCapture is what a barrier that overtakes costs the loop for a full channel
// of a keyed edge, in one worker and from another.
func BenchmarkCapture(b *testing.B) {
	type rec struct{ Key, Value uint64 }
	for name, p := range map[string]placement{"local": alone(1, 1), "remote": apart} {
		b.Run(name, func(b *testing.B) {
			s := fabrics(b, graphOf(1, 1, hash), p, wire{memory: &memnet.Network{}})
			e := &Edge[rec]{Codec: codecOf[rec](b), Hash: func(r rec) uint64 { return r.Key }}
			c := newConsumer(b, s[p.to[0]].Fabric, 0, e, func(rec) {})
			out := newProducer(b, s[p.from[0]].Fabric, 0, e)
			out.await() // the first grant
			for i := uint64(0); out.Room(); i++ {
				out.Receive(rec{i, i})
			}
			records := 0
			b.ReportAllocs()
			for b.Loop() {
				c.BeginCapture(1, Item{}, 0)
				c.Capture(0)
				for _, k := range c.EndCapture() {
					for _, f := range k.frames {
						records += int(f.header().count)
					}
					k.Release()
				}
				c.channels[0].kept = 0
			}
			b.ReportMetric(float64(records)/float64(b.N), "records/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}
