package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// workload is one of the measured jobs and what it is run with if nothing is typed.
type workload struct {
	n, keys uint64
	rate    float64
	line    string // closing line; %s is the workload, %d is n
	declare func(env *weir.Env, p params)
}

const sumsLine = "workload=%s n=%d ms={ms} rate={rate}/s results={results} checksum={checksum:%%016x}"

var workloads = map[string]workload{
	"count":    {n: 20_000_000, keys: 1_000_000, line: sumsLine, declare: declareCount},
	"words":    {n: 2_000_000, keys: 10_000, line: sumsLine, declare: declareWords},
	"tumbling": {n: 10_000_000, keys: 10_000, line: sumsLine, declare: declareTumbling},
	"sliding":  {n: 5_000_000, keys: 10_000, line: sumsLine, declare: declareSliding},
	"session":  {n: 1_000_000, keys: 10_000, line: sumsLine, declare: declareSession},
	"join":     {n: 1_000_000, keys: 10_000, line: sumsLine, declare: declareJoin},
	"nexmark":  {n: 10_000_000, keys: 1, line: sumsLine, declare: declareNexmark},
	"latency": {
		n: 2_500_000, keys: 100_000, rate: 100_000,
		line:    "workload=%s n=%d ms={ms} p50.0={p50.0}ms p99.0={p99.0}ms p99.9={p99.9}ms p100={p100}ms",
		declare: declareLatency,
	},
}

// params is what a workload is run with.
type params struct {
	n, keys uint64
	pad     int    // bytes of count's second state
	query   string // of nexmark
	// sinkRate is how many results a second the sink of count and words takes; 0: all.
	sinkRate float64
	source   []generator.Option
}

// build parses the flags and declares the workload.
func build(env *weir.Env) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	name := fs.String("workload", "count", "`what` to run: count, words, tumbling, sliding, session, join, nexmark or latency")
	query := fs.String("query", "", "which NEXMark `query`: q0 to q9, q11, q12 or q13 (nexmark)")
	n := fs.Uint64("n", 0, "`records` of the source (default: the workload's own)")
	keys := fs.Uint64("keys", 0, "number of `keys` (default: the workload's own)")
	rate := fs.Float64("rate", 0, "records a `second` of the whole job (default: no limit; latency: 100000)")
	sinkRate := fs.Float64("sink-rate", 0, "results a `second` that the sink takes, all subtasks together: the job is backpressured (count, words; default: no limit)")
	pad := fs.Int("pad", 0, "`bytes` of a second state, rewritten with each record (count)")
	backend := fs.String("backend", "", "state `backend`: heap or pebble")
	interval := fs.Int("checkpoint-ms", 0, "`milliseconds` between checkpoints (default: none but the last)")
	parallelism := fs.Int("parallelism", 0, "`subtasks` of each operator")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: bench takes flags only, not %q", weir.ErrUsage, fs.Arg(0))
	}
	w, ok := workloads[*name]
	if !ok {
		return fmt.Errorf("%w: there is no workload %q; there are count, words, tumbling, sliding, session, join, nexmark and latency", weir.ErrUsage, *name)
	}
	p := params{n: w.n, keys: w.keys, pad: *pad, query: *query, sinkRate: *sinkRate}
	typed := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { typed[f.Name] = true })
	if typed["n"] {
		p.n = *n
	}
	if typed["keys"] {
		p.keys = *keys
	}
	if typed["rate"] {
		w.rate = *rate
	}
	if err := check(p, *name, w.rate); err != nil {
		return fmt.Errorf("%w: %w", weir.ErrUsage, err)
	}
	if w.rate > 0 {
		p.source = append(p.source, generator.Rate(w.rate))
	}
	if err := configure(env, typed, *backend, *interval, *parallelism); err != nil {
		return fmt.Errorf("%w: %w", weir.ErrUsage, err)
	}
	if *query != "" {
		*name += "-" + *query
	}
	env.SetName("bench-" + *name)
	env.ClosingLine(fmt.Sprintf(w.line, *name, p.n))
	env.RateOf(p.n)
	w.declare(env, p)
	return nil
}

// configure sets what was typed, and only that: -D and -p of `weir run` count where
// a flag is missing. Without --checkpoint-ms only the checkpoint at the end is taken.
func configure(env *weir.Env, typed map[string]bool, backend string, interval, parallelism int) error {
	const intervalKey = "execution.checkpointing.interval"
	env.Default(intervalKey, "0ms")
	if typed["checkpoint-ms"] {
		if interval < 0 {
			return fmt.Errorf("--checkpoint-ms %d is not possible; 0 takes none", interval)
		}
		env.Set(intervalKey, strconv.Itoa(interval)+"ms")
	}
	if typed["backend"] {
		if !slices.Contains([]string{"heap", "pebble"}, backend) {
			return fmt.Errorf("there is no backend %q; there are heap and pebble", backend)
		}
		env.Set("state.backend.type", backend)
	}
	if typed["parallelism"] {
		if parallelism < 1 {
			return fmt.Errorf("--parallelism %d is not possible, the least is 1", parallelism)
		}
		env.Set("parallelism.default", strconv.Itoa(parallelism))
	}
	return nil
}

func check(p params, workload string, rate float64) error {
	if err := checkQuery(p.query, workload); err != nil {
		return err
	}
	switch {
	case p.keys == 0:
		return fmt.Errorf("--keys must be at least 1")
	case p.n > 1<<60:
		return fmt.Errorf("--n %d is too many, at most 2^60", p.n)
	case p.pad < 0 || p.pad > 1<<20:
		return fmt.Errorf("--pad %d is not possible: 0 to 1048576 bytes", p.pad)
	case p.pad > 0 && workload != "count":
		return fmt.Errorf("--pad belongs to workload count, not to %s", workload)
	case p.sinkRate < 0:
		return fmt.Errorf("--sink-rate %g is not possible; 0 is no limit", p.sinkRate)
	case p.sinkRate > 0 && workload == "latency":
		return fmt.Errorf("--sink-rate belongs to workloads count, words and nexmark, not to latency")
	case rate < 0:
		return fmt.Errorf("--rate %g is not possible; 0 is no limit", rate)
	}
	return nil
}

// mix is splitmix64's step: the source of every pseudo-random number here.
func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// countWord is a result of count and words.
func countWord(key, count uint64) uint64 { return mix(key*1000003 + count) }

// sentence is record i of words.
func sentence(i, keys uint64) string {
	b := make([]byte, 0, 8*21+7) // on the stack; a word has at most 21 bytes
	for j := range uint64(8) {
		if j > 0 {
			b = append(b, ' ')
		}
		b = append(b, 'w')
		b = strconv.AppendUint(b, mix(8*i+j)%keys, 10)
	}
	return string(b)
}

// wordNumber is the number in a word of words.
func wordNumber(word string) uint64 {
	var n uint64
	for _, c := range []byte(word[1:]) {
		n = n*10 + uint64(c-'0')
	}
	return n
}
