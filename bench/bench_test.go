package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/internal/jobtest"
	"github.com/weirstream/weir/job"
)

// plain computes what a workload must come to, record by record, in a map.
func plain(workload string, n, keys uint64) (results, checksum uint64) {
	counts := map[uint64]uint64{}
	add := func(key uint64) {
		counts[key]++
		results++
		checksum += mix(key*1000003 + counts[key])
	}
	if workload != "count" && workload != "words" {
		return plainWindows(workload, n, keys)
	}
	for i := range n {
		if workload == "count" {
			add(mix(i) % keys)
			continue
		}
		for j := range uint64(8) {
			add(mix(8*i+j) % keys)
		}
	}
	return results, checksum
}

// plainWindows is plain for the workloads of windows.
func plainWindows(workload string, n, keys uint64) (results, checksum uint64) {
	add := func(key, word, count uint64) {
		results++
		checksum += mix(key*1000003 + word + count)
	}
	if workload == "session" {
		type session struct{ start, last, count uint64 }
		open := map[uint64]session{}
		end := func(key uint64, s session) { add(key, mix(s.start)+mix(7*(s.last+8)), s.count) }
		for i := range n {
			key, at := mix(i)%keys, i/1000
			s, ok := open[key]
			if ok && at > s.last+8 {
				end(key, s)
				ok = false
			}
			if !ok {
				s.start, s.count = at, 0
			}
			s.last, s.count = at, s.count+1
			open[key] = s
		}
		for key, s := range open {
			end(key, s)
		}
		return results, checksum
	}
	if workload == "join" {
		return plainJoin(n, keys)
	}
	windows := uint64(1)
	if workload == "sliding" {
		windows = 10
	}
	counts := map[[2]uint64]uint64{} // by key and end
	for i := range n {
		for w := range windows {
			counts[[2]uint64{mix(i) % keys, (i/1000/1000 + 1 + w) * 1000}]++
		}
	}
	for at, count := range counts {
		add(at[0], mix(at[1]), count)
	}
	return results, checksum
}

func plainJoin(n, keys uint64) (results, checksum uint64) {
	rights := map[uint64][]uint64{}
	for i := range n {
		key := mix(^i) % keys
		rights[key] = append(rights[key], i)
	}
	for l := range n {
		for _, r := range rights[mix(l)%keys] {
			if r/1000+2 >= l/1000 && r/1000 <= l/1000+2 {
				results++
				checksum += mix(31*l + r)
			}
		}
	}
	return results, checksum
}

func runBench(t testing.TB, args []string, parallelism, checkpoints []int) (line string, r jobtest.Result) {
	t.Helper()
	plan, newProgram, err := weir.ProgramFor(args, func(string) string { return "" }, build)
	if err != nil {
		t.Fatal(err)
	}
	r = jobtest.Run(t, jobtest.Options{Plan: plan, Program: newProgram, Parallelism: parallelism, Checkpoints: checkpoints})
	return job.ClosingLine(plan, r.Results, r.Took), r
}

// TestChecksums compares each workload with the plain program, at any parallelism,
// with failures in between too.
func TestChecksums(t *testing.T) {
	const n = 30_000
	for _, workload := range []string{"count", "words", "tumbling", "sliding", "session", "join"} {
		for _, pad := range []int{0, 100} {
			if pad > 0 && workload != "count" {
				continue
			}
			for name, sc := range map[string]struct{ parallelism, checkpoints []int }{
				"alone": {[]int{1}, nil}, "parallel": {[]int{4}, nil}, "rescaled": {[]int{2, 3, 1}, []int{1, 2}},
			} {
				t.Run(fmt.Sprintf("%s/pad=%d/%s", workload, pad, name), func(t *testing.T) {
					args := []string{"--workload", workload, "--n", strconv.Itoa(n), "--keys=1000"}
					if pad > 0 {
						args = append(args, "--pad", strconv.Itoa(pad))
					}
					line, r := runBench(t, args, sc.parallelism, sc.checkpoints)
					results, checksum := plain(workload, n, 1000)
					want := fmt.Sprintf(`^workload=%s n=%d ms=\d+ rate=\d+/s results=%d checksum=%016x$`, workload, n, results, checksum)
					if !regexp.MustCompile(want).MatchString(line) {
						t.Errorf("line %q, want %s", line, want)
					}
					t.Logf("%d restores in the middle", r.Restores)
				})
			}
		}
	}
}

// TestKnownChecksum is the smallest of SPEC's table.
func TestKnownChecksum(t *testing.T) {
	if results, checksum := plain("count", 3_000_000, 100_000); results != 3_000_000 || checksum != 0x0e175c090f1b4990 {
		t.Errorf("%d results, checksum %016x", results, checksum)
	}
	if results, checksum := plain("session", 1_000_000, 10_000); results != 430_011 || checksum != 0x78d47158226fbf72 {
		t.Errorf("session: %d results, checksum %016x", results, checksum)
	}
	if results, checksum := plain("join", 1_000_000, 10_000); results != 498_409 || checksum != 0xb36243b6736287fe {
		t.Errorf("join: %d results, checksum %016x", results, checksum)
	}
}

func TestLatencyLine(t *testing.T) {
	// Everything falls into the warm-up: quantiles of nothing are 0.
	line, _ := runBench(t, []string{"--workload=latency", "--n=2000", "--keys=10", "--rate=0"}, []int{2}, []int{1})
	if !regexp.MustCompile(`^workload=latency n=2000 ms=\d+ p50\.0=0\.00ms p99\.0=0\.00ms p99\.9=0\.00ms p100=0\.00ms$`).MatchString(line) {
		t.Errorf("line %q", line)
	}
}

// TestNexmark: each query is one of the program; what it comes to is tested where it is.
// q12 goes by the wall clock, but its checksum says how many bids somebody made.
func TestNexmark(t *testing.T) {
	for name, want := range map[string]string{ // nexmark.TestKnownSums has them too
		"q0":  `results=100000 checksum=fcf9d92a4ac53c35`,
		"q1":  `results=92000 checksum=db71268ee8392e53`,
		"q2":  `results=362 checksum=ef33119b29d52a4f`,
		"q3":  `results=729 checksum=61df0b642d9a4dca`,
		"q4":  `results=20 checksum=b285573ca60e10c5`,
		"q5":  `results=9 checksum=94a0777506ec4579`,
		"q6":  `results=3839 checksum=811a79756f06e47b`,
		"q7":  `results=1 checksum=52580b9683967351`,
		"q8":  `results=6000 checksum=1226ba9a82f35f6d`,
		"q9":  `results=3839 checksum=dd5ff62d55a3a31e`,
		"q11": `results=1924 checksum=53995a10f6857a34`,
		"q12": `results=\d+ checksum=481bcb25e76a3b8c`,
		"q13": `results=92000 checksum=afd30aef0a66221a`,
	} {
		line, _ := runBench(t, []string{"--workload=nexmark", "--query", name, "--n=100000"}, []int{2, 3}, []int{1})
		if !regexp.MustCompile(`^workload=nexmark-` + name + ` n=100000 ms=\d+ rate=\d+/s ` + want + `$`).MatchString(line) {
			t.Errorf("%q, want %s", line, want)
		}
	}
	if len(queries) != 13 {
		t.Errorf("%d queries", len(queries))
	}
}

func TestPad(t *testing.T) {
	b := make([]byte, 16)[:13]
	fill(b, 7)
	s1 := mix(7)
	s2 := mix(s1)
	want := fmt.Sprintf("%016x%016x", s1, s2)
	var got strings.Builder
	for _, half := range [][]byte{b[:8], b[8:16]} {
		for i := range half {
			fmt.Fprintf(&got, "%02x", half[7-i])
		}
	}
	if got.String() != want {
		t.Errorf("pad %s, want %s", &got, want)
	}
}

func TestFlagsOfBench(t *testing.T) {
	for args, want := range map[string]string{
		"--workload hopping":             `there is no workload "hopping"`,
		"--workload words --pad 8":       "--pad belongs to workload count",
		"--keys 0":                       "--keys must be at least 1",
		"--backend rocks":                `there is no backend "rocks"`,
		"--checkpoint-ms -1":             "--checkpoint-ms -1 is not possible",
		"--parallelism 0":                "--parallelism 0 is not possible",
		"extra":                          `not "extra"`,
		"--workload nexmark":             `there is no NEXMark query ""`,
		"--workload=nexmark --query=q10": "--query is one of q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q11, q12, q13",
		"--query q3":                     "--query belongs to workload nexmark",
		"--n 5 --rate -1":                "--rate -1 is not possible",
		"--checkpoint-m 5":               "did you mean --checkpoint-ms?",
		"--workload count --n 1e6":       "invalid value",
		"--pad -1":                       "--pad -1 is not possible",
		"--n 2000000000000000000000":     "invalid value",
	} {
		_, _, err := weir.ProgramFor(strings.Fields(args), os.Getenv, build)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// TestOnlyTypedFlagsAreSettings: where a flag is missing, -D and -p keep their say.
func TestOnlyTypedFlagsAreSettings(t *testing.T) {
	for args, want := range map[string]string{
		"": "",
		"--backend heap --parallelism 2 --checkpoint-ms 0": "execution.checkpointing.interval=0ms parallelism.default=2 state.backend.type=heap ",
	} {
		plan, _, err := weir.ProgramFor(strings.Fields(args), os.Getenv, build)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, s := range plan.Config {
			got += s.Key + "=" + s.Value + " "
		}
		if got != want {
			t.Errorf("%q sets %q, want %q", args, got, want)
		}
	}
}

// BenchmarkWorkloads runs a million records of each; BENCH_N changes that.
func BenchmarkWorkloads(b *testing.B) {
	n := "1000000"
	if v := os.Getenv("BENCH_N"); v != "" {
		n = v
	}
	for _, workload := range []string{"count", "words", "tumbling", "sliding", "session", "join"} {
		b.Run(workload, func(b *testing.B) {
			for b.Loop() {
				line, _ := runBench(b, []string{"--workload", workload, "--n", n}, []int{2}, nil)
				b.Log(line)
			}
		})
	}
}
