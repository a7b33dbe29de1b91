package file

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a.txt", "b.log", ".hidden", "s/a.txt", "s/t/a.txt", "s/t/.x/.y", "s/t/u/b.log", ".git/config", "we[ir]d", "s2/a.txt", "x y", "back\\slash"} {
		write(t, filepath.Join(dir, f), []byte("x\n"))
	}
	for link, to := range map[string]string{"link.txt": "a.txt", "linked": "s", "s/up": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "none", "a.txt"), 0o777); err != nil { // a folder of that name
		t.Fatal(err)
	}
	all := ".git/config .hidden a.txt b.log back\\slash s/a.txt s/t/.x/.y s/t/a.txt s/t/u/b.log s2/a.txt we[ir]d x_y"
	for pattern, want := range map[string]string{
		"":             all,
		"/":            all,
		"**":           all,
		"**/":          all,
		"**/*":         all,
		"**/**":        all,
		"*":            ".hidden a.txt b.log back\\slash we[ir]d x_y",
		"*.txt":        "a.txt", // links are not followed, folders not taken
		"**/*.txt":     "a.txt s/a.txt s/t/a.txt s2/a.txt",
		"s/**/a.txt":   "s/a.txt s/t/a.txt",
		"s/**/t/**":    "s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"**/t/**/*":    "s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"s*/a.txt":     "s/a.txt s2/a.txt",
		"s?/*":         "s2/a.txt",
		"s*/":          "s/a.txt s/t/.x/.y s/t/a.txt s/t/u/b.log s2/a.txt",
		"s":            "s/a.txt s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"s/t/":         "s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"**/.*":        ".hidden s/t/.x/.y",
		"**/.x/**":     "s/t/.x/.y",
		".*/*":         ".git/config",
		"[ab].*":       "a.txt b.log",
		"we[ir]d":      "we[ir]d", // it exists: no wildcard
		`we\[*`:        "we[ir]d",
		"**/[!s]*/**":  ".git/config s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"**/[^s]*/**":  ".git/config s/t/.x/.y s/t/a.txt s/t/u/b.log",
		"link.txt":     "link.txt", // typed as it is: followed
		"linked/a.txt": "linked/a.txt",
		"linked/*.txt": "linked/a.txt",
		"linked":       "linked/a.txt linked/t/.x/.y linked/t/a.txt linked/t/u/b.log",
		"lin*/a.txt":   "",
		"none/**":      "",
	} {
		found, err := list(context.Background(), []string{dir + "/" + pattern})
		if err != nil && want != "" || err == nil && want == "" {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		var got []string
		for _, f := range found {
			if f.size != 2 || f.mtime == 0 {
				t.Errorf("%q: %+v", pattern, f)
			}
			got = append(got, strings.ReplaceAll(strings.TrimPrefix(f.path, dir+"/"), " ", "_"))
		}
		slices.Sort(got)
		if w := strings.Fields(want); !slices.Equal(got, w) {
			t.Errorf("%q finds %q, want %q", pattern, got, w)
		}
	}
}

func TestSeveralPatternsFindAFileOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), []byte("x\n"))
	write(t, filepath.Join(dir, "b"), []byte("y\n"))
	t.Chdir(dir)
	r := start(t, Lines("**", Patterns("a", dir+"/b", ".")), 1, 10, nil, nil)
	same(t, r.finish(), []string{"x", "y"})
}

func TestListingIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := list(ctx, []string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("error %v", err)
	}
}
