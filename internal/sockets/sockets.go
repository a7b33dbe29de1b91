// Package sockets finds a folder for the unix sockets of a process. A path of one
// holds 107 bytes, so a data folder is good enough only if its own path is short;
// otherwise the sockets lie in a temporary folder to which the data folder has a link.
//
// Either way what a killed process leaves is found, and removed, by the next one that
// starts in the data folder. Whoever calls Open has the data folder to itself: it
// holds an exclusive lock of it.
//
// It owns no goroutine, and nothing in the sockets' folder is its own.
package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// longest is the length of a folder's path that leaves room for the names of sockets
	// in it ("w" and a worker's id of 20 digits).
	longest = 80
	// prefix is how temporary folders for sockets begin.
	prefix = "weir-sockets-"
)

// Folder is a folder for sockets.
type Folder struct {
	Path string // empty when it is opened
	own  string // "sockets" in the data folder: Path, or a link to it
}

// Open makes the folder for the sockets of the process that owns the folder data, and
// removes the one of its predecessor.
func Open(data string) (*Folder, error) {
	own, err := filepath.Abs(filepath.Join(data, "sockets"))
	if err != nil {
		return nil, fmt.Errorf("find folder for sockets: %w", err)
	}
	f := &Folder{Path: own, own: own}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("remove sockets of a former process: %w", err)
	}
	if len(own) <= longest {
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for sockets: %w", err)
		}
		return f, nil
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if f.Path, err = os.MkdirTemp("", prefix); err != nil {
		return nil, fmt.Errorf("make folder for sockets: %w", err)
	}
	if len(f.Path) > longest {
		return nil, errors.Join(fmt.Errorf("neither %s nor %s can hold unix sockets: their paths are longer than %d bytes; set TMPDIR to a short one",
			data, os.TempDir(), longest), os.Remove(f.Path))
	}
	if err := os.Symlink(f.Path, own); err != nil {
		return nil, errors.Join(fmt.Errorf("note folder for sockets: %w", err), os.Remove(f.Path))
	}
	return f, nil
}

// Close removes the folder with the sockets in it.
func (f *Folder) Close() error {
	target, err := os.Readlink(f.own)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && strings.HasPrefix(filepath.Base(target), prefix):
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	return os.RemoveAll(f.own) // a link is removed, not what it leads to
}
