package sockets

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFolder: a socket fits whatever the data folder's path, what a killed predecessor
// left is gone, and Close leaves nothing.
func TestFolder(t *testing.T) {
	temp, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", filepath.Join(temp, "tmp"))
	if err := os.Mkdir(filepath.Join(temp, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{filepath.Join(temp, "short"), filepath.Join(temp, strings.Repeat("long", 30))} {
		var last *Folder
		for range 3 {
			f, err := Open(data)
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("unix", filepath.Join(f.Path, "w18446744073709551615"))
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a kill
			l.Close()
			if last != nil && last.Path != f.Path {
				if _, err := os.Stat(last.Path); err == nil {
					t.Errorf("%s of a killed process stays behind", last.Path)
				}
			}
			last = f
		}
		if err := last.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
			t.Errorf("in the data folder stay %v (%v)", left, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(temp, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("in the temporary folder stay %v (%v)", left, err)
	}
}

// TestNowhere: what to do is said.
func TestNowhere(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	if f, err := Open(filepath.Join(long, "data")); err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("%v, %v", f, err)
	}
}

// TestNotOurs: a link that is none of ours is removed, what it leads to is not.
func TestNotOurs(t *testing.T) {
	data, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(data, "sockets")); err != nil {
		t.Fatal(err)
	}
	f, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := os.Stat(filepath.Join(other, "precious")); err != nil {
		t.Error(err)
	}
}
