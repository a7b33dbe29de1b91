package demo

import (
	"encoding/binary"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/connectors/generator"
)

// keys is how many keys the demo's records have.
const keys = 1000

// mix is the generator's hash (SplitMix64, S. Vigna).
func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// keyOf is the key of record id: the input is a pure function, so the truth can be
// recomputed.
func keyOf(id uint64) uint64 { return mix(id) % keys }

// event is an input record.
type event struct{ ID, Key uint64 }

// update says that record ID was the key's N-th.
type update struct{ Key, N, ID uint64 }

// JobMain is the program of the demo's job. Its flags are the demo's own.
func JobMain() { weir.Main(build) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("demo job", flag.ContinueOnError)
	n := fs.Int64("n", 0, "number of records")
	rate := fs.Float64("rate", 0, "records a second")
	out := fs.String("out", "", "folder of the sink")
	pauses := fs.String("pauses", "", "folder in which pauses between records are written down")
	sabotage := fs.String("sabotage", "", "drop or double: what the sink does to the 1,000th record, then to one in a million")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	env.SetName("demo")
	env.Set("execution.checkpointing.interval", "500 ms")
	env.Set("parallelism.default", "2")
	env.Set("restart-strategy.exponential-delay.initial-backoff", "100 ms")
	env.ClosingLine("demo emitted={emitted} counted={counted} ms={ms}")
	counted := env.From("events", generator.Range(*n, func(i uint64) event { return event{i, keyOf(i)} }, generator.Rate(*rate))).
		Process("emitted", newTally).
		KeyBy(func(e event) uint64 { return e.Key }).
		Process("count", func(s *weir.Setup) *counter { return newCounter(s, *pauses) })
	if *sabotage != "" {
		counted = counted.FlatMap("sabotage", saboteur(*sabotage))
	}
	counted.To("out", file.Sink(*out, appendUpdate))
	return nil
}

// resultEmitted is the result that says how many records the source has emitted.
const resultEmitted = "emitted"

// tally counts what the source emits, before anything can be lost on the way.
type tally struct{ emitted *weir.Sum }

func newTally(s *weir.Setup) *tally { return &tally{s.Sum(resultEmitted)} }

// Process counts a record and hands it on.
func (t *tally) Process(e event, out *weir.Collector[event]) error {
	t.emitted.Add(1)
	out.Emit(e)
	return nil
}

type counter struct {
	n       *weir.Value[uint64]
	counted *weir.Sum
	pauses  pauses
}

func newCounter(s *weir.Setup, folder string) *counter {
	return &counter{n: s.Value[uint64]("n"), counted: s.Sum("counted"), pauses: pauses{path: filepath.Join(folder, fmt.Sprint(s.Subtask()))}}
}

// Process numbers the records of each key.
func (c *counter) Process(ctx *weir.Ctx[uint64], e event, out *weir.Collector[update]) error {
	if err := c.pauses.record(time.Now()); err != nil {
		return err
	}
	n, _ := c.n.Get()
	n++
	c.n.Set(n)
	c.counted.Add(1)
	out.Emit(update{e.Key, n, e.ID})
	return nil
}

// What --sabotage does it to: the 1,000th record of a subtask, so that a short run
// has one, then one in a million.
const (
	sabotageFirst = 1000
	sabotageEvery = 1_000_000
)

// saboteur is the negative control: a fault that the auditor must find.
func saboteur(kind string) func(update, *weir.Collector[update]) error {
	var seen uint64
	return func(u update, out *weir.Collector[update]) error {
		seen++
		hit := seen == sabotageFirst || seen%sabotageEvery == 0
		if hit && kind == "drop" {
			return nil
		}
		out.Emit(u)
		if hit && kind == "double" {
			out.Emit(u)
		}
		return nil
	}
}

// recordSize of the sink's files: key, number, id, check; little endian.
const recordSize = 32

// appendUpdate writes one update. The check makes damage visible.
func appendUpdate(dst []byte, u update) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, u.Key)
	dst = binary.LittleEndian.AppendUint64(dst, u.N)
	dst = binary.LittleEndian.AppendUint64(dst, u.ID)
	return binary.LittleEndian.AppendUint64(dst, mix(u.Key^mix(u.N^mix(u.ID))))
}

// jobArgs are the arguments of the job's program.
func jobArgs(n int64, rate float64, out, pauses, sabotage string) []string {
	args := []string{"--n", strconv.FormatInt(n, 10), "--rate", fmt.Sprint(rate), "--out", out, "--pauses", pauses}
	if sabotage != "" {
		args = append(args, "--sabotage", sabotage)
	}
	return args
}

// seconds is a duration in seconds, for messages.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
