package objstore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace renames a file inside dir unless the new name is taken.
func renameNoReplace(dir *os.File, from, to string) error {
	err := retryEINTR(func() error {
		return unix.Renameat2(int(dir.Fd()), from, int(dir.Fd()), to, unix.RENAME_NOREPLACE)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renameByLink(dir, from, to) // a file system without RENAME_NOREPLACE
	}
	return err
}
