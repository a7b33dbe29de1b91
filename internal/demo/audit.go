package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// auditor reads what the sink has published and holds it against the truth: record
// id has the key keyOf(id) and comes once; the records of a key are numbered 1, 2,
// 3, … without a gap or a repetition.
//
// It keeps bits for the ids and numbers that it has seen, a page at a time.
type auditor struct {
	dir     string
	read    map[string]bool // files that were read
	ids     bitset
	numbers [keys]bitset
	newest  [keys]uint64 // largest number of each key

	out        uint64 // records read
	distinct   uint64 // ids
	duplicated uint64 // ids or numbers that came again
	damaged    uint64 // records whose check or key is wrong
	numbered   uint64 // distinct (key, number) pairs
}

func newAuditor(dir string) *auditor { return &auditor{dir: dir, read: map[string]bool{}} }

// pageBits is the number of bits of a bitset's page.
const pageBits = 1 << 16

// bitset is a sparse set of numbers.
type bitset map[uint64]*[pageBits / 64]uint64

// add reports whether n is new.
func (b *bitset) add(n uint64) bool {
	if *b == nil {
		*b = bitset{}
	}
	p := (*b)[n/pageBits]
	if p == nil {
		p = new([pageBits / 64]uint64)
		(*b)[n/pageBits] = p
	}
	word, bit := n%pageBits/64, uint64(1)<<(n%64)
	was := p[word]&bit != 0
	p[word] |= bit
	return !was
}

// scan reads the files that have come since the last time. A finished file never
// changes; unfinished ones begin with a dot.
func (a *auditor) scan() error {
	return filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // renamed between listing and looking, or not there yet
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || a.read[path]:
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a.read[path] = true
		return a.take(path, b)
	})
}

func (a *auditor) take(path string, b []byte) error {
	if len(b)%recordSize != 0 {
		return fmt.Errorf("published file %s has %d bytes, which is no whole number of records", path, len(b))
	}
	for ; len(b) > 0; b = b[recordSize:] {
		key, n, id, check := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
		a.out++
		if check != mix(key^mix(n^mix(id))) || key != keyOf(id) {
			a.damaged++
			continue
		}
		fresh := a.ids.add(id)
		if fresh {
			a.distinct++
		}
		if a.numbers[key].add(n) {
			a.numbered++
		} else {
			fresh = false
		}
		if !fresh {
			a.duplicated++
		}
		a.newest[key] = max(a.newest[key], n)
	}
	return nil
}

// in is how many records went in, as far as the output tells: each key's numbers say
// how many of it there were.
func (a *auditor) in() uint64 {
	var all uint64
	for _, n := range a.newest {
		all += n
	}
	return all
}

// gaps is how many numbers are missing below the largest of each key: records of a
// key are published in order, so each is a lost one.
func (a *auditor) gaps() uint64 { return a.in() - a.numbered }

// lost is how many of n input records are not in the output, once the job has
// finished.
func (a *auditor) lost(n uint64) uint64 { return max(n-min(n, a.distinct), a.gaps()) + a.damaged }
