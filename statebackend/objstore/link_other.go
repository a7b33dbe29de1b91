//go:build unix && !linux

package objstore

import "os"

// renameNoReplace renames a file inside dir unless the new name is taken.
func renameNoReplace(dir *os.File, from, to string) error { return renameByLink(dir, from, to) }
