package slots

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/weirstream/weir/job"
)

// TestPool runs the transcripts: add, remove, request, release; each prints what
// is granted because of it.
func TestPool(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var p Pool
		var number uint64
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var name string
			var n int
			var have string
			if d.HasArg("tm") {
				d.ScanArgs(t, "tm", &name)
			}
			if d.HasArg("job") {
				d.ScanArgs(t, "job", &name)
			}
			if d.HasArg("n") {
				d.ScanArgs(t, "n", &n)
			}
			if d.HasArg("have") {
				d.ScanArgs(t, "have", &have)
			}
			switch d.Cmd {
			case "add":
				p.Add(name, n)
			case "remove":
				p.Remove(name)
			case "request":
				var slots []string
				for s := range strings.SplitSeq(have, "/") {
					slots = append(slots, strings.Trim(s, "-"))
				}
				number++
				p.Request(job.ID(name), number, n, slots, 0)
			case "release":
				p.Release(job.ID(name))
			default:
				d.Fatalf(t, "unknown command")
			}
			var b strings.Builder
			for _, g := range p.Grants() {
				fmt.Fprintf(&b, "%s: %q could have %d\n", g.Job, g.TaskManagers, g.Free)
			}
			fmt.Fprintf(&b, "free %d of %d\n", p.Free(), p.Total())
			return b.String()
		})
	})
}
