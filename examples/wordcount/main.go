// Command wordcount counts the words of text files.
//
//	go run ./examples/wordcount --input '/usr/share/doc/**' --output /tmp/counts
//	weir run ./examples/wordcount -- --input /logs --output /counts
//
// Words are what stands between the six white-space bytes of ASCII, whatever their
// encoding. When all files have been read, the output folder holds lines of a word,
// a tab and its count, each word once; files that are not finished begin with a dot.
package main

import (
	"flag"
	"fmt"
	"strconv"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
)

// Count is how often a word occurs.
type Count struct {
	Word  string
	Times int64
}

func main() { weir.Main(build) }

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	input := fs.String("input", "", "`file`, folder or pattern to read; ** is any depth")
	output := fs.String("output", "", "`folder` to write to")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	if *input == "" || *output == "" || fs.NArg() > 0 {
		return fmt.Errorf("%w: wordcount needs --input FILES and --output FOLDER, and takes nothing else", weir.ErrUsage)
	}
	env.From("lines", file.Lines(*input)).
		FlatMap("words", split).
		KeyBy(weir.Self).
		Fold("count", int64(0),
			func(n int64, _ string) int64 { return n + 1 },
			func(word string, n int64) Count { return Count{word, n} }, weir.AtEnd).
		To("counts", file.Sink(*output, appendCount))
	return nil
}

// appendCount writes c as a line of the output.
func appendCount(dst []byte, c Count) []byte {
	dst = append(dst, c.Word...)
	dst = append(dst, '\t')
	return append(strconv.AppendInt(dst, c.Times, 10), '\n')
}
