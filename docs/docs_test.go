// Package docs holds the tests that keep the pages for users true: code on them is code of
// the tree, and links, flags, settings and commands exist.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirstream/weir/internal/config"
)

var (
	quote    = regexp.MustCompile("(?s)(?:<!-- ([a-z/_]+\\.go) -->\n)?```go\n(.*?)```")
	link     = regexp.MustCompile(`\]\(([\w./-]+(?:\.md|/|LICENSE))\)`)
	flagName = regexp.MustCompile(`(?:^|[\s\x60\[|(])--([a-z][a-z-]+)`)
	keyName  = regexp.MustCompile("`(?:-D )?((?:execution|state|restart-strategy|high-availability|jobmanager|jobstore|process|rest|taskmanager|heartbeat|log|parallelism)\\.[a-zA-Z.-]+[a-zA-Z])")
)

// pages are the documents of the house, by their path from here.
func pages(t *testing.T) map[string]string {
	all := map[string]string{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	add("../README.md")
	add("../ARCHITECTURE.md")
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			add(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Fatalf("only %d pages found", len(all))
	}
	return all
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestQuotes: code on a page is that of the file named above it, which is compiled and
// tested where it is. README's job is example_test.go's of this folder.
func TestQuotes(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range quote.FindAllStringSubmatch(text, -1) {
			from := m[1]
			if page == "../README.md" {
				from = "docs/example_test.go"
				m[2] = m[2][strings.Index(m[2], "func build("):]
			}
			if from == "" {
				t.Errorf("%s: code without its file:\n%s", page, m[2])
				continue
			}
			if !strings.Contains(read(t, "../"+from), m[2]) {
				t.Errorf("%s: %s does not have:\n%s", page, from, m[2])
			}
		}
	}
}

func TestLinks(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: link: %v", page, err)
			}
		}
	}
}

// TestFlags: flags that a page names are those of a command or of an example.
func TestFlags(t *testing.T) {
	known := read(t, "../cmd/weir/testdata/help.txt")
	programs := read(t, "../examples/quiet/main.go") + read(t, "../examples/wordcount/main.go") + read(t, "../bench/workload.go")
	for page, text := range pages(t) {
		for _, m := range flagName.FindAllStringSubmatch(text, -1) {
			if m[1] != "plan" && !strings.Contains(known, "--"+m[1]) && !strings.Contains(programs, `"`+m[1]+`"`) {
				t.Errorf("%s: there is no flag --%s", page, m[1])
			}
		}
	}
}

func TestSettings(t *testing.T) {
	known := map[string]bool{}
	for _, o := range config.Options() {
		known[o.Key] = true
	}
	for page, text := range pages(t) {
		if page == "configuration.md" { // written from the options, older names included
			continue
		}
		for _, m := range keyName.FindAllStringSubmatch(text, -1) {
			if !known[m[1]] && !strings.HasSuffix(m[1], ".go") && !strings.HasPrefix(page, "../ARCH") {
				t.Errorf("%s: there is no setting %s", page, m[1])
			}
		}
	}
}

// TestVerbs: the commands of the help are those of the page about them.
func TestVerbs(t *testing.T) {
	page := read(t, "cli.md")
	for _, m := range regexp.MustCompile(`(?m)^\$ weir ([a-z ]+) --help$`).FindAllStringSubmatch(read(t, "../cmd/weir/testdata/help.txt"), -1) {
		if !strings.Contains(page, "`weir "+m[1]) {
			t.Errorf("cli.md does not have weir %s", m[1])
		}
	}
}
