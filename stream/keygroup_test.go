package stream

import "testing"

// TestRangesPartitionTheGroups is I16: for each parallelism the ranges follow one
// another without a gap, cover every group, and SubtaskOf is their inverse.
func TestRangesPartitionTheGroups(t *testing.T) {
	for _, p := range []int{1, 2, 3, 5, 7, 64, 100, 1000, 10000, 65535, 65536} {
		next := 0
		for s := range p {
			r := RangeOf(s, p)
			if int(r.First) != next {
				t.Fatalf("p=%d subtask %d: range %v does not start at %d", p, s, r, next)
			}
			for _, g := range []KeyGroup{r.First, r.Last} {
				if got := SubtaskOf(g, p); got != s {
					t.Fatalf("p=%d: SubtaskOf(%d) = %d, want %d", p, g, got, s)
				}
			}
			next = int(r.Last) + 1
		}
		if next != KeyGroups {
			t.Fatalf("p=%d: ranges end at %d, want %d", p, next, KeyGroups)
		}
	}
}

func TestIntersect(t *testing.T) {
	for _, c := range []struct {
		a, b, want KeyGroupRange
		ok         bool
	}{
		{KeyGroupRange{0, 9}, KeyGroupRange{5, 20}, KeyGroupRange{5, 9}, true},
		{KeyGroupRange{0, 9}, KeyGroupRange{10, 20}, KeyGroupRange{}, false},
		{AllKeyGroups, KeyGroupRange{7, 7}, KeyGroupRange{7, 7}, true},
	} {
		got, ok := c.a.Intersect(c.b)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%v ∩ %v = %v, %v; want %v, %v", c.a, c.b, got, ok, c.want, c.ok)
		}
	}
}
