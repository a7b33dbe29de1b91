package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/operator"
)

type words []string

// Receive implements operator.Receiver.
func (w *words) Receive(v string) { *w = append(*w, v) }

// TestSplit compares with strings.FieldsFunc on the six white-space bytes.
func TestSplit(t *testing.T) {
	for _, line := range []string{
		"", " ", "a", " a ", "a b", "\ta\vb\fc\rd ", "ä\u00a0ö \u2028ü", "\xff\xfe \x00 x", strings.Repeat("w ", 1000),
	} {
		var got words
		if err := split(line, operator.NewCollector[string](&operator.Runtime{}, 0, &got)); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, f := range strings.FieldsFunc(strings.ToValidUTF8(line, "?"), func(r rune) bool { return r < 256 && isSpace[r] && r != 0xa0 }) {
			want = append(want, f)
		}
		for i := range got {
			got[i] = strings.ToValidUTF8(got[i], "?")
		}
		if !slices.Equal([]string(got), want) {
			t.Errorf("%q splits into %q, want %q", line, got, want)
		}
	}
}
