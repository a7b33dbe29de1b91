package savepoint

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var golden = flag.String("golden", "", "write the snapshots of this version to testdata/NAME, which must not exist")

// TestGolden restores and reads the snapshots that earlier versions wrote. What stands in
// testdata is never written again: a new format adds a folder. v2 has runs of format 2, and
// packs.
func TestGolden(t *testing.T) {
	if *golden != "" {
		writeGolden(t, filepath.Join("testdata", *golden))
	}
	versions := ok(filepath.Glob("testdata/v*"))
	if len(versions) == 0 {
		t.Fatal("no snapshots in testdata")
	}
	for _, v := range versions {
		want := string(ok(os.ReadFile(filepath.Join(v, "want.txt"))))
		for _, snapshot := range []string{"job/chk-3", "canonical", "native"} {
			at := ok(filepath.Abs(filepath.Join(v, snapshot)))
			for what, got := range map[string]map[string]string{
				"restored": read(t, at, 2), "rescaled": read(t, at, 3), "read": contents(t, at),
			} {
				if text := lines(got); text != want {
					t.Errorf("%s, %s:\n%s\nwant\n%s", at, what, text, want)
				}
			}
			if v := ok(Verify(context.Background(), at)); len(v.Problems) > 0 {
				t.Errorf("%s: %v", at, v.Err())
			}
			d := ok(Describe(context.Background(), at))
			if o := d.Operators; len(o) != 2 || o[1].States[0].Entries != 4 || o[0].KeyType != "string" || len(o[0].States) != 4 {
				t.Errorf("%s: %+v", at, d)
			}
		}
	}
}

func lines(found map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%s: %s\n", k, strings.TrimSpace(found[k]))
	}
	return b.String()
}

func writeGolden(t *testing.T, dir string) {
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is there: what an earlier version wrote must stay", dir)
	}
	_, from := packed(t, filepath.Join(dir, "job"), 60)
	ok(Copy(context.Background(), from, filepath.Join(dir, "canonical"), canonical))
	ok(Copy(context.Background(), from, filepath.Join(dir, "native"), native))
	want := lines(read(t, from, 2))
	err := errors.Join(os.RemoveAll(filepath.Join(dir, "job", "chk-2")), os.WriteFile(filepath.Join(dir, "want.txt"), []byte(want), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}
