package weir

import (
	"maps"
	"slices"
	"testing"
	"time"
)

// TestFoldCopiesInit: a fold that changes its value in place must not change the one
// that the other keys begin with.
func TestFoldCopiesInit(t *testing.T) {
	type visits struct {
		Pages map[string]int
		Last  *time.Time
		Path  [][]string
	}
	at := time.Unix(7, 0)
	first := copier(visits{Pages: map[string]int{"start": 0}, Last: &at, Path: [][]string{{"start"}}})
	ann := first()
	ann.Pages["shop"]++
	*ann.Last = time.Unix(8, 0)
	ann.Path[0][0] = "shop"
	bob := first()
	if !maps.Equal(bob.Pages, map[string]int{"start": 0}) || !bob.Last.Equal(time.Unix(7, 0)) || !slices.Equal(bob.Path[0], []string{"start"}) {
		t.Errorf("bob begins with %v, %v, %v", bob.Pages, bob.Last, bob.Path)
	}

	// Of a job.
	var got basket[string]
	runJob(t, func(env *Env) error {
		env.From("numbers", numbers(100)).KeyBy(func(i uint64) uint64 { return i % 10 }).
			Fold("seen", map[uint64]bool{}, func(seen map[uint64]bool, i uint64) map[uint64]bool { seen[i] = true; return seen },
				func(k uint64, seen map[uint64]bool) string {
					return string(rune('0'+k)) + ":" + string(rune('a'+len(seen)))
				}, AtEnd).
			To("basket", &got)
		return nil
	}, []int{2}, nil)
	for _, s := range got.sorted() {
		if s[2:] != "k" {
			t.Errorf("%s: each key has seen 10 numbers", s)
		}
	}
}
