package main

import (
	"fmt"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/stream"
)

// warmUp is left out of the measurement, counted from a subtask's first record.
const warmUp = 5 * time.Second

// stamped is a record of latency: that of count, with the clock where it was made.
type stamped struct {
	Key, Value uint64
	Made       int64 // ns since 1970
}

// stampedCount is an update of latency.
type stampedCount struct {
	Key, Count uint64
	Made       int64 // ns since 1970
}

func declareLatency(env *weir.Env, p params) {
	source := generator.Range(int64(p.n), func(i uint64) stamped {
		return stamped{mix(i) % p.keys, i, time.Now().UnixNano()}
	}, p.source...)
	env.From("events", source).
		KeyBy(func(e stamped) uint64 { return e.Key }).
		Process("count", newStampedCounter).
		Process("histogram", newMeter).
		To("percentiles", percentiles{}, weir.Parallelism(1))
}

type stampedCounter struct{ count *weir.Value[uint64] }

func newStampedCounter(s *weir.Setup) *stampedCounter {
	return &stampedCounter{count: s.Value[uint64]("count")}
}

// Process implements weir.Processor.
func (c *stampedCounter) Process(_ *weir.Ctx[uint64], e stamped, out *weir.Collector[stampedCount]) error {
	n, _ := c.count.Get()
	n++
	c.count.Set(n)
	out.Emit(stampedCount{e.Key, n, e.Made})
	return nil
}

// meter keeps the histogram of a subtask and emits it when the input has ended.
type meter struct {
	state *weir.OperatorList[string]
	h     histogram
	from  int64 // ns since 1970: when the warm-up is over, 0 before the first record
}

func newMeter(s *weir.Setup) *meter { return &meter{state: s.SplitList[string]("histogram")} }

// Open implements operator.Opener: it takes the histograms of before a failure on.
func (m *meter) Open() error { return restoreHistogram(&m.h, m.state) }

// Process implements weir.StreamProcessor.
func (m *meter) Process(c stampedCount, _ *weir.Collector[string]) error {
	now := time.Now().UnixNano()
	if m.from == 0 {
		m.from = now + int64(warmUp)
	}
	if now >= m.from {
		m.h.add(time.Duration(now - c.Made))
	}
	return nil
}

// Snapshot implements operator.Snapshotter.
func (m *meter) Snapshot(stream.CheckpointID) error {
	m.state.Set([]string{string(m.h.encode())})
	return nil
}

// EndOfInput emits the histogram.
func (m *meter) EndOfInput(out *weir.Collector[string]) error {
	out.Emit(string(m.h.encode()))
	m.h = histogram{} // it is the next operator's now
	return nil
}

// percentiles merges the histograms of all subtasks; what they say are results of
// the job.
type percentiles struct{}

// NewWriter implements weir.Sink.
func (percentiles) NewWriter(s *weir.Setup) (weir.Writer[string], error) {
	w := &percentileWriter{state: s.SplitList[string]("histogram")}
	for _, p := range []struct {
		name string
		q    float64
	}{{"p50.0", 0.5}, {"p99.0", 0.99}, {"p99.9", 0.999}, {"p100", 1}} {
		w.results = append(w.results, percentile{p.q, s.Text(p.name)})
	}
	return w, nil
}

type percentile struct {
	q    float64
	text *weir.Text
}

type percentileWriter struct {
	state   *weir.OperatorList[string]
	h       histogram
	results []percentile
}

// Open implements operator.Opener.
func (w *percentileWriter) Open() error { return restoreHistogram(&w.h, w.state) }

// Write takes the histogram of one subtask in.
func (w *percentileWriter) Write(encoded string) error { return w.h.decode([]byte(encoded)) }

// Snapshot implements operator.Snapshotter.
func (w *percentileWriter) Snapshot(stream.CheckpointID) error {
	w.state.Set([]string{string(w.h.encode())})
	return nil
}

// EndOfInput sets the results.
func (w *percentileWriter) EndOfInput() error {
	for _, r := range w.results {
		r.text.Set(fmt.Sprintf("%.2f", float64(w.h.quantile(r.q))/float64(time.Millisecond)))
	}
	return nil
}

func restoreHistogram(h *histogram, state *weir.OperatorList[string]) error {
	for _, b := range state.Get() {
		if err := h.decode([]byte(b)); err != nil {
			return err
		}
	}
	return nil
}
