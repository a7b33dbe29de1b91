package jobbinary

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weirstream/weir"
)

// main keeps weir.Main in this test binary.
var main = weir.Main

// A program of Weir's module that is no job: what it says when it is asked for its plan is
// not taken for a job's word.
func TestNoJob(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if main == nil {
		t.Fatal("there is no weir.Main")
	}
	if callsMain(tool) || !callsMain(self) {
		t.Errorf("go calls weir.Main: %v, this program: %v", callsMain(tool), callsMain(self))
	}
	err = planFailure(t.Context(), Program{Name: "tool", Local: tool}, new(exec.ExitError), []byte("usage: tool VERB"))
	if err == nil || !strings.Contains(err.Error(), "tool is not a Weir job") || strings.Contains(err.Error(), "VERB") {
		t.Errorf("%v", err)
	}
}
