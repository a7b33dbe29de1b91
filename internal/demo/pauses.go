package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// leastPause is the shortest pause between two records of a subtask that is written down.
const leastPause = 10 * time.Millisecond

// pauses writes down when no record came to a subtask, with the time of this host: a line
// for each pause, from and to in ns since 1970.
type pauses struct {
	path string
	last time.Time
}

func (p *pauses) record(now time.Time) error {
	last := p.last
	p.last = now
	if last.IsZero() || now.Sub(last) < leastPause {
		return nil
	}
	f, err := os.OpenFile(p.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write down a pause: %w", err)
	}
	_, err = fmt.Fprintln(f, last.UnixNano(), now.UnixNano())
	return errors.Join(err, f.Close())
}

// longestPause is the longest that any subtask has written down in folder and that overlaps
// with from and to; at least that none was longer than leastPause is known.
func longestPause(folder string, from, to time.Time) (longest time.Duration, err error) {
	longest = leastPause
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			var begin, end int64
			if n, _ := fmt.Sscan(line, &begin, &end); n == 2 && end > from.UnixNano() && begin < to.UnixNano() {
				longest = max(longest, time.Duration(end-begin))
			}
		}
		return nil
	})
	return longest, err
}
