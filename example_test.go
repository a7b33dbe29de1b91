package weir_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
	"github.com/weirstream/weir/internal/minicluster"
)

// A job that counts words. In a program of its own, its main is weir.Main(build): run
// by hand the job runs in that process, with `weir run` on a cluster.
func Example() {
	lines := []string{"the weir", "the stream", "a weir"}
	build := func(env *weir.Env) error {
		env.From("lines", generator.Range(3, func(i uint64) string { return lines[i] })).
			FlatMapSeq("words", strings.FieldsSeq).
			KeyBy(weir.Self).
			Fold("count", 0,
				func(n int, _ string) int { return n + 1 },
				func(word string, n int) string { return fmt.Sprint(word, " ", n) }, weir.AtEnd).
			Print()
		return nil
	}
	runHere(build)
	// Unordered output:
	// the 2
	// weir 2
	// stream 1
	// a 1
}

// An operator with keyed state: it lets the first record of each key pass.
func ExampleKeyed_Process() {
	build := func(env *weir.Env) error {
		env.From("numbers", generator.Range(100, func(i uint64) uint64 { return i * i % 10 })).
			KeyBy(weir.Self).
			Process("first", func(s *weir.Setup) *first { return &first{s.Value[bool]("seen")} }).
			Print()
		return nil
	}
	runHere(build)
	// Unordered output:
	// 0
	// 1
	// 4
	// 9
	// 6
	// 5
}

type first struct{ seen *weir.Value[bool] }

func (f *first) Process(_ *weir.Ctx[uint64], v uint64, out *weir.Collector[uint64]) error {
	if _, ok := f.seen.Get(); !ok {
		f.seen.Set(true)
		out.Emit(v)
	}
	return nil
}

// The line that sums a job up is part of its plan; whatever follows the job prints it.
func ExampleEnv_ClosingLine() {
	build := func(env *weir.Env) error {
		env.ClosingLine("total={total}")
		env.From("numbers", generator.Range(101, func(i uint64) uint64 { return i })).To("sum", adder{})
		return nil
	}
	runHere(build)
	// Output: total=5050
}

// adder is a sink that keeps a named result.
type adder struct{}

func (adder) NewWriter(s *weir.Setup) (weir.Writer[uint64], error) {
	return addWriter{s.Sum("total")}, nil
}

type addWriter struct{ total *weir.Sum }

func (w addWriter) Write(v uint64) error {
	w.total.Add(v)
	return nil
}

// runHere does what weir.Main does in a program that is run by hand, and returns.
func runHere(build func(*weir.Env) error) {
	plan, program, err := weir.ProgramFor(nil, os.Getenv, build)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := minicluster.Run(context.Background(), minicluster.Options{NewProgram: program}, plan, nil)
	switch {
	case err != nil:
		fmt.Println(err)
	case r.ClosingLine != "":
		fmt.Println(r.ClosingLine)
	}
}
