// Command trouble is a job that does what jobs should not do, for tests.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/connectors/generator"
)

func main() { weir.Main(build) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("trouble", flag.ContinueOnError)
	mode := fs.String("mode", "steady", "what goes wrong: steady, beat (writes when records come), panic, fail, stubborn, planpanic, twice or unstable")
	n := fs.Int64("n", 1_000_000, "number of `records`")
	keys := fs.Uint64("keys", 1000, "number of `keys`")
	rate := fs.Float64("rate", 20_000, "`records` a second")
	output := fs.String("output", "", "`folder` that the counts are written to")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.SetName("trouble-" + *mode)
	numbers := func(uid string) *weir.Stream[uint64] {
		return env.From(uid, generator.Range(*n, func(i uint64) uint64 { return i }, generator.Rate(*rate)))
	}
	source := numbers("numbers")
	switch *mode {
	case "planpanic":
		panic("this plan can't be made")
	case "twice":
		numbers("numbers").To("other", discard{})
	case "unstable":
		source = source.Map(fmt.Sprintf("step-%d", os.Getpid()), func(v uint64) uint64 { return v })
	}
	counts := source.KeyBy(func(v uint64) uint64 { return v % *keys }).
		Process("count", func(s *weir.Setup) *counter { return &counter{s.Value[uint64]("n"), *mode} })
	if *mode == "beat" {
		counts.To("out", beat{*output})
		return nil
	}
	if *output != "" {
		counts.To("out", file.Sink(*output, func(line []byte, v uint64) []byte { return fmt.Appendf(line, "%d\n", v) }))
		return nil
	}
	counts.To("out", discard{})
	return nil
}

// counter counts each key, and makes trouble at the thousandth number.
type counter struct {
	n    *weir.Value[uint64]
	mode string
}

// Process implements weir.KeyedOperator.
func (c *counter) Process(_ *weir.Ctx[uint64], v uint64, out *weir.Collector[uint64]) error {
	n, _ := c.n.Get()
	c.n.Set(n + 1)
	if v == 1000 {
		switch c.mode {
		case "panic":
			panic("number 1000 is one too many")
		case "fail":
			return fmt.Errorf("number %d is refused", v)
		case "stubborn":
			for { // deaf to cancel
				time.Sleep(time.Hour)
			}
		}
	}
	out.Emit(v)
	return nil
}

// discard sums what it is given.
type discard struct{}

type sum struct{ seen *weir.Sum }

// NewWriter implements weir.Sink.
func (discard) NewWriter(s *weir.Setup) (weir.Writer[uint64], error) { return &sum{s.Sum("seen")}, nil }

// Write implements weir.Writer.
func (w *sum) Write(uint64) error {
	w.seen.Add(1)
	return nil
}

// beat writes down when each record came, a file for each subtask.
type beat struct{ path string }

type beats struct {
	path string
	f    *os.File
}

// NewWriter implements weir.Sink.
func (b beat) NewWriter(s *weir.Setup) (weir.Writer[uint64], error) {
	return &beats{path: fmt.Sprintf("%s-%d", b.path, s.Subtask())}, nil
}

// Write implements weir.Writer.
func (b *beats) Write(uint64) (err error) {
	if b.f == nil {
		if b.f, err = os.OpenFile(b.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(b.f, time.Now().UnixNano())
	return err
}

// Close closes the file.
func (b *beats) Close() error {
	if b.f == nil {
		return nil
	}
	return b.f.Close()
}
