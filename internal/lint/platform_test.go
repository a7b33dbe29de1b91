package lint

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// build has go build programs for another system.
func build(t *testing.T, goos string, packages ...string) (output string, err error) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-o", os.DevNull}, packages...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOtherSystems: a job's program, its tests and what it may import compile on a Mac. On
// Windows the first line says that it is not possible.
func TestOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything for another system")
	}
	if out, err := build(t, "darwin", ".", "./weirtest", "./savepoint", "./connectors/...", "./examples/..."); err != nil {
		t.Errorf("GOOS=darwin go build: %v\n%s", err, out)
	}
	const name = "Weir_runs_on_Linux_and_macOS_on_Windows_use_WSL_2"
	if out, err := build(t, "windows", "./internal/machine"); err == nil || !strings.Contains(out, "undefined: "+name) {
		t.Errorf("GOOS=windows go build: %v\n%s", err, out)
	}
}
