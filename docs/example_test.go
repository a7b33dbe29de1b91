package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/file"
	"github.com/weirstream/weir/weirtest"
)

// The job of README.md.
func build(env *weir.Env) error {
	env.From("lines", file.Lines("/usr/share/doc/**/copyright")).
		FlatMapSeq("split", strings.FieldsSeq).
		KeyBy(weir.Self).
		Fold("count", 0, func(n int, _ string) int { return n + 1 },
			func(word string, n int) string { return fmt.Sprint(n, " ", word) }, weir.AtEnd).
		Print()
	return nil
}

func TestReadme(t *testing.T) {
	var got []string
	weirtest.Run(t, build, weirtest.Replace("lines", "a weir", "a stream"), weirtest.Capture("count-print", &got)).Wait()
	all := strings.Join(got, ",")
	if len(got) != 3 || !strings.Contains(all, "2 a") || !strings.Contains(all, "1 weir") || !strings.Contains(all, "1 stream") {
		t.Errorf("counted %q", got)
	}
}
