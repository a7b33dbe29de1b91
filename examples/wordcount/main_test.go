package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// asMain has the test binary be wordcount.
const asMain = "WORDCOUNT_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// wordcount runs the program in dir and returns what it wrote to stderr.
func wordcount(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asMain+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	return stderr.String(), err
}

// counts reads what wordcount has written to dir.
func counts(t *testing.T, dir string) map[string]int {
	t.Helper()
	all := map[string]int{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("unfinished file %s is left", e.Name())
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			word, count, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			n, err := strconv.Atoi(count)
			if _, twice := all[word]; !ok || err != nil || twice {
				t.Fatalf("line %q: %v, word written before: %v", line, err, twice)
			}
			all[word] = n
		}
	}
	return all
}

// same compares counts.
func same(t *testing.T, got, want map[string]int) {
	t.Helper()
	for _, w := range slices.Sorted(maps.Keys(want)) {
		if got[w] != want[w] {
			t.Fatalf("%.80q is counted %d times, want %d (%d words, want %d)", w, got[w], want[w], len(got), len(want))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d words, want %d", len(got), len(want))
	}
}

// TestAgainstCoreutils counts a part of Go's own tree both ways.
func TestAgainstCoreutils(t *testing.T) {
	for _, tool := range []string{"sh", "awk", "tr", "sort", "uniq", "find", "xargs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing, with which the counts are compared", tool)
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find Go's own tree: %v", err)
	}
	input := filepath.Join(strings.TrimSpace(string(root)), "src", "fmt")
	script := exec.Command("sh", "-c", `find "$0" -type f -print0 | xargs -0 awk 1 | tr -s '[:space:]' '\n' | sort | uniq -c`, input)
	script.Env = append(os.Environ(), "LC_ALL=C")
	text, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for line := range strings.Lines(string(text)) {
		n, word, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			continue // what tr leaves of white space at the very beginning
		}
		if want[word], err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) < 1000 {
		t.Fatalf("only %d words in %s", len(want), input)
	}
	for _, pattern := range []string{input, input + "/**"} {
		output := filepath.Join(t.TempDir(), "counts")
		if stderr, err := wordcount(t, t.TempDir(), "--input", pattern, "--output", output); err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		same(t, counts(t, output), want)
	}
}

// TestAnyBytes: words are bytes; relative paths, files without a last newline, hidden
// files, links and a line of 1.4 MB.
func TestAnyBytes(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{
		"in/a":          "one two\tone\r\n\n\vone",
		"in/.b":         "two",
		"in/c/.d/e.bin": "nul\x00nul \xff\xfe\xff \x00 \x00\xff \xc3\xa9 no\u00a0break\f\x85",
		"in/long":       strings.Repeat("y", 700_000) + " " + strings.Repeat("one ", 175_000) + "\n" + strings.Repeat("y", 700_000),
		"in/empty":      "",
		"in/space":      " \n\n \t",
	}
	want := map[string]int{}
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		start := 0
		for i := 0; i <= len(text); i++ {
			if i == len(text) || strings.IndexByte(" \t\n\v\f\r", text[i]) >= 0 {
				if start < i {
					want[text[start:i]]++
				}
				start = i + 1
			}
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "in", "link")); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"in", "in/", "in/**", "./i*/**/*"} {
		output := "out-" + fmt.Sprint(len(pattern))
		if stderr, err := wordcount(t, dir, "--input", pattern, "--output", output); err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		same(t, counts(t, filepath.Join(dir, output)), want)
	}
}

func TestBadUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("a\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want string // on stderr
		code int
	}{
		{"--output out", "--input is missing", 2},
		{"--input file", "--output is missing", 2},
		{"--inptu file --output out", "did you mean --input?", 2},
		{"--input file --output out more", `"more" is too much`, 2},
		{"--input missing --output out", "/missing\": no such file or directory", 7},
		{"--input *.txt --output out", "no file matches", 7},
		{"--input file --output file", "can't be written to", 7},
	} {
		stderr, err := wordcount(t, dir, strings.Fields(c.args)...)
		code := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if code != c.code || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d; one line with %q wanted, stderr:\n%s", c.args, code, c.code, c.want, stderr)
		}
	}
}
