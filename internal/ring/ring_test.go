package ring

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLikeASlice: whatever is pushed, popped and removed.
func TestLikeASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Ring[int]
		var model []int
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case what < 3:
				r.Push(i)
				model = append(model, i)
			case len(model) == 0:
			case what < 5:
				if got := *r.Peek(); got != model[0] || r.Pop() != got {
					t.Fatalf("popped %d, want %d", got, model[0])
				}
				model = model[1:]
			default:
				at := rapid.IntRange(0, len(model)-1).Draw(t, "at")
				r.Remove(at)
				model = slices.Delete(model, at, at+1)
			}
			if r.Len() != len(model) {
				t.Fatalf("%d items, want %d", r.Len(), len(model))
			}
			for i, want := range model {
				if *r.At(i) != want {
					t.Fatalf("item %d is %d, want %d", i, *r.At(i), want)
				}
			}
		}
	})
}
