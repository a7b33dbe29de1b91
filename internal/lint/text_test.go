package lint

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tree must build and read the same on any machine: no folder of one machine, no
// host from which modules were fetched. Put together from halves, as this file is
// checked too.
var machinePaths = regexp.MustCompile(`(^|[^\w.\-*/])/(` + "wo" + `rk|` + "ro" + `ot|` + "fa" + `rm)/`)

var registryHosts = regexp.MustCompile(`(?i)\b(goproxy\.|proxy\.go` + `lang\.org|sum\.go` + `lang\.org|arti` + `factory|registry\.npm` + `js|docker\.io/)`)

// maxText is the size above which a file is data, not text, in bytes.
const maxText = 1 << 20

func TestNoMachineInText(t *testing.T) {
	r := repository(t)
	err := filepath.WalkDir(r.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.IsDir() && skipped(d.Name()) {
				return filepath.SkipDir
			}
			return nil // a file that went away while we walk is not ours to judge
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxText {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return nil
		}
		rel, _ := filepath.Rel(r.root, p)
		for i, line := range strings.Split(string(text), "\n") {
			if found := machineIn(line); found != "" {
				t.Errorf("%s:%d names a machine or a registry: %q", filepath.ToSlash(rel), i+1, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func machineIn(line string) string {
	if s := machinePaths.FindString(line); s != "" {
		return s
	}
	return registryHosts.FindString(line)
}

func TestMachineFinder(t *testing.T) {
	for line, want := range map[string]bool{
		"see /wo" + "rk/main/x":            true,
		"\"/ro" + "ot/.cache\"":            true,
		"https://proxy.go" + "lang.org":    true,
		"a frame/wo" + "rk/item":           false,
		"testdata/ro" + "ot/file":          false,
		"https://weirstream.dev/wo" + "rk": false,
		"the root, /workers/1":             false,
	} {
		if got := machineIn(line) != ""; got != want {
			t.Errorf("%q: found %v, want %v", line, got, want)
		}
	}
}
