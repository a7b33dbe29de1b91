package lint

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Generated code is committed, so that building Weir needs no generator; here it is made
// again and must be the same.
func TestGeneratedIsCurrent(t *testing.T) {
	r := repository(t)
	generator := filepath.Join(r.root, "bin", "tools", "protogen")
	if _, err := os.Stat(generator); err != nil {
		t.Fatal("bin/tools/protogen is missing; type: make tools")
	}
	out := t.TempDir()
	if text, err := exec.Command(generator, "-root", r.root, "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("protogen: %v\n%s", err, text)
	}
	fresh := map[string]bool{}
	for _, path := range glob(t, out) {
		fresh[path] = true
		want, err := os.ReadFile(filepath.Join(out, path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(r.root, path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its .proto file says; type: make proto", path)
		}
	}
	if len(fresh) == 0 {
		t.Fatal("protogen wrote nothing")
	}
	for _, path := range glob(t, r.root) {
		if !fresh[path] {
			t.Errorf("%s has no .proto file any more; remove it", path)
		}
	}
}

// glob lists the generated files below root, relative to it.
func glob(t *testing.T, root string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "proto", "*", "*.pb.go"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		if paths[i], err = filepath.Rel(root, p); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}
