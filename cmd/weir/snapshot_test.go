package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The snapshots of version 1 that package savepoint keeps, as the command shows them.
func TestSnapshots(t *testing.T) {
	root, err := filepath.Abs("../../savepoint/testdata/v1")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no snapshots in %s: %v", root, err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	var all strings.Builder
	for _, args := range []string{
		"list ROOT", "list ROOT -o name", "list ROOT -o jsonl", "describe ROOT/canonical", "describe ROOT/canonical -o json", "verify ROOT/canonical", "verify ROOT/canonical -o json",
		"diff ROOT/canonical ROOT/native", "copy ROOT/native TO --type canonical", "copy ROOT/native TO --type native", "diff ROOT/canonical TO -o json",
		"state ROOT/canonical source", "state ROOT/canonical count --key key-0003", "state ROOT/canonical count --key key-0003 -o jsonl", "state ROOT/canonical count --key key-0003 --state total -o json",
		"state ROOT/canonical count --key nobody", "state ROOT/canonical count --key nobody -o json", "state ROOT/canonical count --key key-0003 --state total -o yaml",
		"state ROOT/canonical nope", "state ROOT/canonical count --state totl", "state ROOT/canonical count --state nope",
	} {
		typed := append([]string{"snapshot"}, strings.Fields(strings.NewReplacer("ROOT", root, "TO", to).Replace(args))...)
		c := weirCommand(t, nil, nil, typed...)
		text := duration.ReplaceAllString(strings.NewReplacer(root, "ROOT", to, "TO").Replace(c.String()), "after DURATION")
		fmt.Fprintf(&all, "$ weir snapshot %s\n%s\n", args, text)
	}
	golden(t, "snapshots.txt", all.String())
	if _, err := os.Stat(filepath.Join(to, "_metadata")); err != nil {
		t.Error(err)
	}
}

// What is no snapshot, or no whole one, is refused in one line by every verb that is given it.
func TestBadSnapshots(t *testing.T) {
	whole, err := os.ReadFile("../../savepoint/testdata/v1/native/_metadata")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("data/other.txt", []byte("not ours"))
	write("file", []byte("text"))
	write("flink/_metadata", []byte("\x49\x60\x67\x2d flink"))
	write("cut/_metadata", whole[:len(whole)/2])
	write("flipped/_metadata", append(append(append([]byte{}, whole[:100]...), whole[100]^1), whole[101:]...))
	write("none/_metadata", nil)
	write("half/_metadata", whole) // its runs were not copied
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range []string{"nothing", "empty", "data", "file", "flink", "cut", "flipped", "none", "half", "s3://bucket/x"} {
		for _, args := range []string{"snapshot describe PATH", "snapshot verify PATH", "snapshot copy PATH DIR/to", "snapshot delete PATH --yes --offline", "check -s PATH EXE"} {
			if name == "half" && !strings.Contains(args, "verify") && !strings.Contains(args, "copy") {
				continue // these read the _metadata only
			}
			path := name
			if !strings.Contains(name, ":") {
				path = filepath.Join(dir, name)
			}
			typed := strings.Fields(strings.NewReplacer("PATH", path, "DIR", dir, "EXE", exe).Replace(args))
			c := weirCommand(t, nil, nil, typed...)
			if c.exit == 0 || c.stdout != "" || !strings.HasPrefix(c.stderr, "error: ") {
				t.Errorf("weir %s of %s: %v", args, name, c)
			}
			if strings.HasPrefix(args, "snapshot verify") {
				fmt.Fprintf(&all, "$ weir %s\n%s", strings.NewReplacer("PATH", name).Replace(args), strings.ReplaceAll(c.stderr, dir, "DIR"))
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "to")); err == nil {
			t.Errorf("a copy of %s was left", name)
		}
	}
	golden(t, "badsnapshots.txt", all.String())
}
