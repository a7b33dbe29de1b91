package watermark

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMerger: a transcript of what is said of inputs a, b, c… and what the merged
// watermark is after each: "a5" advances, "a-" pauses, "a." ends, "+" adds one.
func TestMerger(t *testing.T) {
	for _, c := range []struct {
		name, steps, want string
		floor             int64
		dynamic           bool
	}{
		{name: "the least counts", steps: "a5 b3 c9 b7 a4 a8", want: "min min 3 5 5 7"},
		{name: "an idle one does not", steps: "a5 b3 c- b9 c4 a10 b11 c12 c13", want: "min min 3 5 5 9 10 10 10"},
		{name: "it catches up first", steps: "a5 b5 c- c2 a6 b7 c6 a8 b8 c9", want: "min min 5 5 5 6 6 6 6 8"},
		{name: "all idle: the greatest", steps: "a5 b7 c- a- b- a6 b8", want: "min min 5 7 7~ 7 8"},
		{name: "ended ones leave", steps: "a5 b7 c. a. b9 b.", want: "min min 5 7 9 max"},
		{name: "an idle one's end", steps: "a5 b7 c- c. a9", want: "min min 5 5 7"},
		{name: "only idle ones are left", steps: "a5 b7 c- b- a.", want: "min min 5 5 7~"},
		{name: "never below the floor", floor: 6, steps: "a5 b5 c5 a7 b8 c9 a4", want: "6 6 6 6 6 7 7"},
		{name: "splits come and go", dynamic: true, floor: 1, steps: "+ a5 + b3 b6 b. a. + a2 a9", want: "1 5 5 5 5 5 5 5 5 9"},
		{name: "without a split nothing ends", dynamic: true, floor: 1, steps: "+ a.", want: "1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := New(3, Min)
			if c.floor != 0 {
				m = New(3, c.floor)
			}
			if c.dynamic {
				m = Dynamic(c.floor)
			}
			var got []string
			for _, s := range strings.Fields(c.steps) {
				before, idle := m.At(), m.Idle()
				changed := play(m, s)
				if real := m.At() != before || m.Idle() != idle; s != "+" && changed != real {
					t.Errorf("%s: changed is %v", s, changed)
				}
				got = append(got, show(m))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.steps, g, c.want)
			}
		})
	}
}

func play(m *Merger, step string) bool {
	if step == "+" {
		m.Add()
		return false
	}
	i := int(step[0] - 'a')
	switch rest := step[1:]; rest {
	case "-":
		return m.Pause(i)
	case ".":
		return m.End(i)
	default:
		at, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			panic(err)
		}
		return m.Advance(i, at)
	}
}

func show(m *Merger) string {
	s := strconv.FormatInt(m.At(), 10)
	switch m.At() {
	case Min:
		s = "min"
	case Max:
		s = "max"
	}
	if m.Idle() {
		s += "~"
	}
	return s
}

// TestMergedNeverGoesBack: whatever inputs do, the merged watermark does not go back, and
// is not beyond an input that has always counted.
func TestMergedNeverGoesBack(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(5)
		m := New(n, Min)
		at, faithful := make([]int64, n), slices.Repeat([]bool{true}, n)
		for i := range at {
			at[i] = Min
		}
		var steps []string
		for range 60 {
			i, before := r.IntN(n), m.At()
			step := ""
			switch r.IntN(12) {
			case 0:
				step, faithful[i] = fmt.Sprintf("%c-", 'a'+i), false
			case 1:
				step, faithful[i] = fmt.Sprintf("%c.", 'a'+i), false
			default:
				v := r.Int64N(100)
				step, at[i] = fmt.Sprintf("%c%d", 'a'+i, v), max(at[i], v)
			}
			steps = append(steps, step)
			play(m, step)
			if m.At() < before {
				t.Fatalf("seed %d: %v: from %d back to %d", seed, steps, before, m.At())
			}
			for j := range at {
				if faithful[j] && m.At() > at[j] {
					t.Fatalf("seed %d: %v: at %d, but input %d is at %d", seed, steps, m.At(), j, at[j])
				}
			}
		}
	}
}
