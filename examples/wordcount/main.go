// Command wordcount counts the words of text files. Run it with
//
//	go run ./examples/wordcount --input 'src/**/*.go' --output counts
//
// or on a cluster with `weir run ./examples/wordcount -- --input … --output …`.
//
// --input is a file, a folder (all files below it), or a path with wildcards, where **
// is any number of folders. A word is what stands between the white-space bytes of
// ASCII, whatever its own bytes are. When all files have been read, each word and how
// often it was seen are written to files in --output:
//
//	word<TAB>count
//
// The files appear when everything has been counted; until then their names begin with
// a dot.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
)

// Count is how often a word was seen.
type Count struct {
	Word string
	N    int64
}

// envFrom is the folder that relative paths belong to: where the job is submitted, not
// where its workers run. build asks for it with Param, so workers are told.
const envFrom = "WORDCOUNT_FROM"

func main() {
	if os.Getenv(envFrom) == "" {
		if dir, err := os.Getwd(); err == nil {
			os.Setenv(envFrom, dir)
		}
	}
	weir.Main(build)
}

func build(env *weir.Env) error {
	fs := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	input := fs.String("input", "", "`files` to read: a file, a folder or a pattern")
	output := fs.String("output", "", "`folder` to write to")
	if err := env.ParseFlags(fs); err != nil {
		return err
	}
	switch {
	case *input == "":
		return fmt.Errorf("%w: --input is missing: which files are to be read? For example --input 'logs/**'", weir.ErrUsage)
	case *output == "":
		return fmt.Errorf("%w: --output is missing: which folder are the counts to be written to?", weir.ErrUsage)
	case fs.NArg() > 0:
		return fmt.Errorf("%w: %q is too much; is a pattern without quotes?", weir.ErrUsage, fs.Arg(0))
	}
	env.From("lines", file.Lines(absolute(env, *input))).
		FlatMap("words", split).
		KeyBy(weir.Self).
		Fold("count", 0, func(n int64, _ string) int64 { return n + 1 },
			func(word string, n int64) Count { return Count{word, n} }, weir.AtEnd).
		To("counts", file.Sink(absolute(env, *output), appendCount))
	return nil
}

// absolute completes a path that the user has typed. Not filepath.Join, which would
// clean away a slash at the end.
func absolute(env *weir.Env, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return env.Param(envFrom) + string(filepath.Separator) + path
}

// appendCount is a line of the output.
func appendCount(line []byte, c Count) []byte {
	line = append(line, c.Word...)
	line = append(line, '\t')
	line = strconv.AppendInt(line, c.N, 10)
	return append(line, '\n')
}
