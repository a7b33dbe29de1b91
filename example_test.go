package weir_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// A job that counts words. Program plans it; weir.Main(build) would run it.
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
	plan, _, err := weir.ProgramFor(nil, os.Getenv, build, weir.Named("words"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, op := range plan.Operators {
		fmt.Println(op.Uid, op.Parallelism, len(op.States))
	}
	// Output:
	// lines 0 1
	// words 0 0
	// count 0 1
	// count-print 0 0
}
