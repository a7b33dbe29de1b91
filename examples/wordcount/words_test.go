package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/operator"
)

type collect struct{ words []string }

func (c *collect) Receive(w string) { c.words = append(c.words, w) }

func words(line string) []string {
	var c collect
	_ = split(line, operator.NewCollector(operator.PlanSetup("words", operator.KeyInfo{}).Runtime(), 0, &c))
	return c.words
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            nil,
		" \t\v\f\r\n":                 nil,
		"one":                         {"one"},
		"a b":                         {"a", "b"},
		"\ta  b\r":                    {"a", "b"},
		"a\vb\fc\rd":                  {"a", "b", "c", "d"},
		"nul\x00in \xff\xfe bad\x80":  {"nul\x00in", "\xff\xfe", "bad\x80"},
		"no\u00a0break\u2003or\u0085": {"no\u00a0break\u2003or\u0085"}, // white space of Unicode is none
		"\x1c\x1d\x1e\x1f":            {"\x1c\x1d\x1e\x1f"},
	} {
		if got := words(line); !slices.Equal(got, want) {
			t.Errorf("%q is split into %q, want %q", line, got, want)
		}
	}
}

// FuzzSplit holds split against strings.FieldsFunc on bytes.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(" a\x00b\t\xff\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var want []string
		for _, w := range bytes.FieldsFunc(latin1(line), func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }) {
			want = append(want, string(w))
		}
		var got []string
		for _, w := range words(string(line)) {
			got = append(got, string(latin1([]byte(w))))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is split into %q, want %q", line, got, want)
		}
	})
}

// latin1 makes each byte a rune.
func latin1(b []byte) []byte {
	var out []byte
	for _, c := range b {
		out = append(out, string(rune(c))...)
	}
	return out
}
