package file_test

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
)

// The errors of all logs, in files that appear with each checkpoint.
func Example() {
	_, _, err := weir.Program(func(env *weir.Env) error {
		env.From("lines", file.Lines("/logs/**/*.log")).
			Filter("errors", func(line string) bool { return strings.Contains(line, "ERROR") }).
			To("found", file.LineSink("/found"))
		return nil
	})
	fmt.Println(err)
	// Output: <nil>
}
