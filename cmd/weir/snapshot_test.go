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
