package file

import (
	"errors"
	"slices"

	"github.com/weirstream/weir/operator"
)

// splitSize is the default length of a range. Big enough that opening a file and
// skipping to a line (~50 µs) vanish beside reading it (~50 ms), small enough that the
// readers of a file of 1 GB end at about the same time.
const splitSize = 32 << 20 // bytes

// Option tunes Lines.
type Option interface{ apply(*Source) }

type optionFunc func(*Source)

func (f optionFunc) apply(s *Source) { f(s) }

// SplitSize sets how many bytes of a file are read by one reader at a stretch; the
// default is 32 MiB. At least 1.
func SplitSize(bytes int64) Option {
	return optionFunc(func(s *Source) { s.splitSize = max(1, bytes) })
}

// Patterns adds further files, folders and patterns; see Lines.
func Patterns(patterns ...string) Option {
	return optionFunc(func(s *Source) { s.patterns = append(s.patterns, patterns...) })
}

// Lines returns the source of the lines of all files that pattern names, without
// their newlines; the last line of a file counts without one, too. Lines of different
// files and of different parts of a file come in any order.
//
// A pattern is a file, a folder (all files below it), or a path with the wildcards of
// path.Match ("[!a-z]" is allowed too), where "**" stands for any number of folders, none included; as the last
// part it stands for all files below. Names that begin with a dot match like others.
// Wildcards match files only, and neither they nor the walk below a folder follow
// symbolic links. A relative path belongs to the folder where the enumerator's process
// runs; in jobs that run on a cluster use absolute ones.
//
// A pattern that names no file fails the job.
func Lines(pattern string, opts ...Option) *Source {
	s := &Source{patterns: []string{pattern}, splitSize: splitSize}
	for _, o := range opts {
		o.apply(s)
	}
	return s
}

// Source is what Lines returns.
type Source struct {
	patterns  []string
	splitSize int64
}

var _ operator.Source[string] = (*Source)(nil)

// NewReader implements operator.Source.
func (s *Source) NewReader(c *operator.SourceContext) (operator.Reader[string], error) {
	return &reader{c: c}, nil
}

// NewEnumerator implements operator.Source.
func (s *Source) NewEnumerator(c *operator.SourceContext) (operator.Enumerator, error) {
	if slices.Contains(s.patterns, "") {
		return nil, errors.New("read files: the path is empty")
	}
	return &enumerator{c: c, source: s}, nil
}
