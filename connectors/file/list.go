package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// foundFile is a file as it was when it was listed.
type foundFile struct {
	path  string // absolute
	size  int64  // bytes
	mtime int64  // ns since 1970
}

// list returns the files that patterns name, each once, by path.
func list(ctx context.Context, patterns []string) ([]foundFile, error) {
	w := walker{ctx: ctx}
	for _, p := range patterns {
		before := len(w.found)
		if err := w.pattern(p); err != nil {
			return nil, fmt.Errorf("list files of %q: %w", p, err)
		}
		if len(w.found) == before {
			return nil, fmt.Errorf("no file matches %q", p)
		}
	}
	slices.SortFunc(w.found, func(a, b foundFile) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(w.found, func(a, b foundFile) bool { return a.path == b.path }), nil
}

// anyDepth is the wildcard for any number of folders.
const anyDepth = "**"

// walker collects files.
type walker struct {
	ctx   context.Context
	parts []string // of the pattern, below the folder where the walk begins
	found []foundFile
}

// pattern collects the files of one pattern.
func (w *walker) pattern(pattern string) error {
	abs, err := filepath.Abs(pattern)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(abs); err == nil || !hasWildcard(pattern) {
		return w.named(abs)
	}
	base := string(filepath.Separator)
	parts := strings.Split(strings.Trim(abs, "/"), "/")
	for len(parts) > 0 && !hasWildcard(parts[0]) {
		base = filepath.Join(base, parts[0])
		parts = parts[1:]
	}
	if strings.HasSuffix(pattern, "/") {
		parts = append(parts, anyDepth)
	}
	for i, p := range parts {
		parts[i] = shellClasses(p)
		if _, err := filepath.Match(parts[i], ""); err != nil {
			return fmt.Errorf("part %q: %w", p, err)
		}
	}
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s: %w", base, notFound(err))
	}
	w.parts = parts
	return w.folder(base, w.closed(nil, 0))
}

func hasWildcard(path string) bool { return strings.ContainsAny(path, `*?[\`) }

// shellClasses has "[!" mean what it does in a shell; Go writes "[^".
func shellClasses(part string) string {
	b := []byte(part)
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++ // escaped
		case b[i] == '[' && b[i+1] == '!':
			b[i+1] = '^'
		}
	}
	return string(b)
}

// named collects what was named without a wildcard. A symbolic link that the user
// has typed is followed.
func (w *walker) named(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return notFound(err)
	}
	switch {
	case info.IsDir():
		w.parts = []string{anyDepth}
		return w.folder(path, []int{0})
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is no file and no folder (%v)", info.Mode())
	}
	w.found = append(w.found, foundFile{path, info.Size(), info.ModTime().UnixNano()})
	return nil
}

// notFound is the reason of os.Stat without the path, which the caller names.
func notFound(err error) error {
	if err == nil {
		return errors.New("it is a file")
	}
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// closed adds to the parts that may come next (indices into w.parts) the part i and,
// where that may stand for nothing, the one behind it.
func (w *walker) closed(next []int, i int) []int {
	for ; i < len(w.parts) && !slices.Contains(next, i); i++ {
		next = append(next, i)
		if w.parts[i] != anyDepth {
			break
		}
	}
	return next
}

// folder collects the files below dir; next are the parts of the pattern that a name
// in it may match. All of them are followed at once, so each folder is read once.
func (w *walker) folder(dir string, next []int) error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err // a folder that can't be read may hold what was asked for
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			if below := w.below(e.Name(), next); len(below) > 0 {
				if err := w.folder(path, below); err != nil {
					return err
				}
			}
		case e.Type().IsRegular() && w.last(e.Name(), next):
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone since the folder was read
			}
			if err != nil {
				return err
			}
			w.found = append(w.found, foundFile{path, info.Size(), info.ModTime().UnixNano()})
		}
	}
	return nil
}

// below is what may come next in the folder name.
func (w *walker) below(name string, next []int) (all []int) {
	for _, i := range next {
		if w.parts[i] == anyDepth {
			all = w.closed(all, i)
		} else if w.match(i, name) {
			all = w.closed(all, i+1)
		}
	}
	return all
}

// last reports whether the pattern may end with the file name.
func (w *walker) last(name string, next []int) bool {
	for _, i := range next {
		if i == len(w.parts)-1 && (w.parts[i] == anyDepth || w.match(i, name)) {
			return true
		}
	}
	return false
}

func (w *walker) match(i int, name string) bool {
	ok, err := filepath.Match(w.parts[i], name)
	return err == nil && ok // the parts have been checked
}
