package lint

import (
	"fmt"
	"strings"
)

// dag is a set of import rules in the syntax of Go's internal/dag:
//
//	a, b < c < d;   # c may import a and b; d may import c, a and b
//	NONE < a;       # a imports none of the others
//	a !< b;         # no rule may ever let b import a
//
// Rules are transitive. A name that is a folder with packages of one kind (see groups)
// stands for all of them.
type dag struct {
	nodes map[string]bool
	below map[string]map[string]bool // below[b][a]: b may import a
	never [][2]string                // {a, b} of a !< b
}

func parseDAG(text string) (*dag, error) {
	d := &dag{nodes: map[string]bool{}, below: map[string]map[string]bool{}}
	var clean strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		clean.WriteString(line + "\n")
	}
	for rule := range strings.SplitSeq(clean.String(), ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		if err := d.rule(rule); err != nil {
			return nil, err
		}
	}
	d.close()
	for n := range d.nodes {
		if d.below[n][n] {
			return nil, fmt.Errorf("rules go in a circle through %s", n)
		}
	}
	for _, pair := range d.never {
		if d.below[pair[1]][pair[0]] {
			return nil, fmt.Errorf("rules let %s import %s, which %s !< %s forbids", pair[1], pair[0], pair[0], pair[1])
		}
	}
	return d, nil
}

func (d *dag) rule(rule string) error {
	if left, right, ok := strings.Cut(rule, "!<"); ok {
		for _, a := range names(left) {
			for _, b := range names(right) {
				d.never = append(d.never, [2]string{a, b})
			}
		}
		return nil
	}
	steps := strings.Split(rule, "<")
	if len(steps) < 2 {
		return fmt.Errorf("rule %q has no <", strings.TrimSpace(rule))
	}
	var before []string
	for _, step := range steps {
		list := names(step)
		if len(list) == 0 {
			return fmt.Errorf("rule %q has an empty side", strings.TrimSpace(rule))
		}
		for _, b := range list {
			if b == "NONE" {
				continue
			}
			d.nodes[b] = true
			if d.below[b] == nil {
				d.below[b] = map[string]bool{}
			}
			for _, a := range before {
				if a != "NONE" {
					d.below[b][a] = true
				}
			}
		}
		before = list
	}
	return nil
}

func names(side string) []string {
	return strings.FieldsFunc(side, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// close makes the rules transitive.
func (d *dag) close() {
	for k := range d.nodes {
		for i := range d.nodes {
			if !d.below[i][k] {
				continue
			}
			for j := range d.below[k] {
				d.below[i][j] = true
			}
		}
	}
}

// may says whether b may import a.
func (d *dag) may(b, a string) bool { return d.below[b][a] }
