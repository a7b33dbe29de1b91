//go:build unix

package objstore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameByLink is a rename that never replaces: a link fails if the name is taken. A
// crash between the two steps leaves the temporary name, for Sweep.
func renameByLink(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	if err := retryEINTR(func() error { return unix.Linkat(fd, from, fd, to, 0) }); err != nil {
		return err
	}
	// The object is there: what is left of the temporary name is only untidy.
	_ = unlinkFile(dir, from)
	return nil
}

// unlinkFile removes a name from dir.
func unlinkFile(dir *os.File, name string) error {
	return retryEINTR(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) })
}

// linkFile links the local file at path into dir unless the name is taken.
func linkFile(path string, dir *os.File, name string) error {
	return retryEINTR(func() error { return unix.Linkat(unix.AT_FDCWD, path, int(dir.Fd()), name, 0) })
}

func retryEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
