package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir/client/api"
)

// envSources chooses how much of Go's source tree is counted: folders of GOROOT/src,
// separated by commas; "." is all of it.
const envSources = "WEIR_TEST_SOURCES"

// sources are files of some seconds' work.
func sources(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("find Go's own tree: %v", err)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src")
	if folders := os.Getenv(envSources); folders != "" {
		if folders == "." {
			return src
		}
		return filepath.Join(src, folders)
	}
	return filepath.Join(src, "cmd")
}

// TestWordcount counts a part of Go's source tree on three one-slot TaskManagers, one
// of which is killed in the middle, and compares with coreutils.
func TestWordcount(t *testing.T) {
	for _, tool := range []string{"sh", "awk", "tr", "sort", "uniq", "find", "xargs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing, with which the counts are compared", tool)
		}
	}
	t.Parallel()
	input := sources(t)
	want := coreutils(t, input)
	if runtime.GOOS == "linux" && len(want) < 1000 {
		t.Fatalf("only %d words in %s", len(want), input)
	}
	c := newCluster(t, layout{taskManagers: 3})
	for _, backend := range []string{"pebble", "heap"} {
		t.Run(backend, func(t *testing.T) {
			output := filepath.Join(c.dir, "counts-"+backend)
			follow := c.begin("run", "-p", "2", "-D", "execution.checkpointing.interval=200ms", "-D", "state.backend.type="+backend,
				"-D", "restart-strategy.exponential-delay.initial-backoff=100ms", "./examples/wordcount", "--", "--input", input, "--output", output)
			var id string
			until(t, "the job is in the list", func() bool {
				jobs, err := c.client.Jobs(t.Context())
				for _, j := range jobs {
					if j.State != api.StateFinished {
						id = j.ID
					}
				}
				return err == nil && id != ""
			})
			j := c.jobUntil(id, "has a checkpoint", hasCheckpoint(1))
			p := c.user(j)
			p.kill(t)
			if s := follow.await(); s.code != 0 {
				t.Fatalf("run: %v", s)
			}
			j = c.describe(id)
			recovered(t, j)
			if j.Parallelism != 2 {
				t.Errorf("parallelism %d", j.Parallelism)
			}
			sameCounts(t, output, want)
			p.start(t)
			c.awaitSlots(3)
		})
	}
}

// coreutils counts words of all files below dir.
func coreutils(t *testing.T, dir string) map[string]int {
	t.Helper()
	script := exec.Command("sh", "-c", `find "$0" -type f -print0 | xargs -0 awk 1 | tr -s '[:space:]' '\n' | sort | uniq -c`, dir)
	script.Env = append(os.Environ(), "LC_ALL=C")
	text, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for line := range strings.Lines(string(text)) {
		n, word, _ := strings.Cut(strings.Trim(line, " \n"), " ")
		if word == "" {
			continue // what tr leaves of white space at the very beginning
		}
		if want[word], err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// sameCounts compares what the job has written with coreutils' counts.
func sameCounts(t *testing.T, dir string, want map[string]int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	words := 0
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
			word, count, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			if n, err := strconv.Atoi(count); err != nil || want[word] != n {
				t.Fatalf("%.80q is counted %q times, want %d", word, count, want[word])
			}
			words++
		}
	}
	if words != len(want) { // each equals its want; so some are missing, or written twice
		t.Fatalf("%d words, want %d", words, len(want))
	}
}
