package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSocketsOfKilledProcesses: whether they lie in the data folder or, because its
// path is too long, in the temporary one: the next start removes them, and a clean
// stop leaves none.
func TestSocketsOfKilledProcesses(t *testing.T) {
	for _, name := range []string{"short", strings.Repeat("long", 15)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, layout{taskManagers: 1, late: true})
			temp, err := os.MkdirTemp("", "w")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(temp) })
			all := []*process{c.managers[0], c.tasks[0]}
			left := func() (paths []string) {
				for _, pattern := range []string{temp + "/*", c.dir + "/*/sockets", c.dir + "/*/etcd/sockets"} {
					found, err := filepath.Glob(pattern)
					if err != nil {
						t.Fatal(err)
					}
					paths = append(paths, found...)
				}
				return paths
			}
			once := 0
			for range 3 {
				for _, p := range all {
					p.env = []string{"TMPDIR=" + temp}
					p.start(t)
				}
				c.awaitSlots(1)
				if n := len(left()); once == 0 {
					once = n
				} else if n != once {
					t.Errorf("after a kill there are %d folders of sockets, %d before: %v", n, once, left())
				}
				for _, p := range all {
					p.kill(t)
				}
			}
			for _, p := range all {
				p.start(t)
			}
			c.awaitSlots(1)
			for _, p := range all {
				p.signal(t, syscall.SIGTERM)
				if code := p.await(t); code != 0 {
					t.Errorf("%s ends with exit code %d:\n%s", p.name, code, p.text())
				}
			}
			if paths := left(); len(paths) > 0 {
				t.Errorf("after a clean stop there are %v", paths)
			}
		})
	}
}
