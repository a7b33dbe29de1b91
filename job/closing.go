package job

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/proto/metapb"
)

// Names in a closing line that are not results.
const (
	closingMS   = "ms"   // the job's duration in ms
	closingRate = "rate" // n·1000/ms, rounded down; n is Plan.RateOf's parameter
)

// ErrClosingLine marks a closing line that can't be filled in, whatever the results.
var ErrClosingLine = errors.New("invalid closing line")

// ClosingLine is the line that a finished job is summed up in: plan's text with
// its names filled in, or "" if the plan has none. JobManager, CLI and local mode
// all print it, without user code.
//
// The text holds names in braces: {ms} and {rate}, the names of results, and those
// of parameters (Plan.Params). After a colon comes a format of package fmt:
// {checksum:%016x}; without one, sums are decimal. "{{" stands for a brace. A name
// that nothing goes by is refused by ValidatePlan; here it stays as it is.
func ClosingLine(plan *metapb.Plan, results []*metapb.Result, took time.Duration) string {
	if plan.ClosingLine == "" {
		return ""
	}
	ms := uint64(max(0, took.Milliseconds()))
	params := map[string]string{}
	for _, p := range plan.Params {
		params[p.Key] = p.Value
	}
	values := map[string]any{}
	for k, v := range params {
		values[k] = v
	}
	for _, r := range results {
		switch v := r.Value.(type) {
		case *metapb.Result_Sum:
			values[r.Name] = v.Sum
		case *metapb.Result_Text:
			values[r.Name] = v.Text
		}
	}
	values[closingMS] = ms
	if n, err := strconv.ParseUint(params[plan.RateOf], 10, 64); err == nil && plan.RateOf != "" {
		values[closingRate] = rate(n, ms)
	}
	var line strings.Builder
	for p, err := range closingParts(plan.ClosingLine) {
		v, known := values[p.name]
		switch {
		case err != nil || p.name == "":
			line.WriteString(p.text)
		case !known:
			line.WriteString(p.text)
		case p.format == "":
			fmt.Fprint(&line, v)
		default:
			fmt.Fprintf(&line, p.format, v)
		}
	}
	return line.String()
}

// rate is n in ms as a number a second.
func rate(n, ms uint64) uint64 {
	hi, lo := bits.Mul64(n, 1000)
	if ms = max(1, ms); hi >= ms {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, ms)
	return q
}

// CheckClosingLine reports what is wrong with the form of text: a brace that is
// not closed, a format that isn't one verb. It can't know the names of the results.
func CheckClosingLine(text string) error {
	for _, err := range closingParts(text) {
		if err != nil {
			return fmt.Errorf("%w %q: %w", ErrClosingLine, text, err)
		}
	}
	return nil
}

// validateClosing refuses a closing line with a name that nothing will go by.
func validateClosing(plan *metapb.Plan) error {
	known := map[string]bool{closingMS: true, closingRate: plan.RateOf != ""}
	for _, p := range plan.Params {
		known[p.Key] = true
	}
	var results []string
	for _, op := range plan.Operators {
		for _, s := range op.States {
			if s.Kind == metapb.StateKind_STATE_KIND_RESULT {
				known[s.Name] = true
				results = append(results, s.Name)
			}
		}
	}
	slices.Sort(results)
	for p, err := range closingParts(plan.ClosingLine) {
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w %q: %w", ErrInvalidPlan, ErrClosingLine, plan.ClosingLine, err)
		case p.name == closingRate && !known[p.name]:
			return fmt.Errorf("%w: %w %q: {rate} needs Env.RateOf", ErrInvalidPlan, ErrClosingLine, plan.ClosingLine)
		case p.name != "" && !known[p.name]:
			return fmt.Errorf("%w: %w %q: nothing goes by the name {%s}; the program's results are %s, and there is {ms}",
				ErrInvalidPlan, ErrClosingLine, plan.ClosingLine, p.name, cmp.Or(strings.Join(slices.Compact(results), ", "), "none"))
		}
	}
	return nil
}

// closingPart is literal text (name empty) or a name in braces; text is what
// stands in the line.
type closingPart struct{ text, name, format string }

func closingParts(text string) func(yield func(closingPart, error) bool) {
	return func(yield func(closingPart, error) bool) {
		for text != "" {
			open := strings.IndexByte(text, '{')
			if open < 0 {
				yield(closingPart{text: text}, nil)
				return
			}
			if open > 0 && !yield(closingPart{text: text[:open]}, nil) {
				return
			}
			text = text[open:]
			if strings.HasPrefix(text, "{{") {
				if !yield(closingPart{text: "{"}, nil) {
					return
				}
				text = text[2:]
				continue
			}
			end := strings.IndexByte(text, '}')
			if end < 0 {
				yield(closingPart{text: text}, fmt.Errorf("%q is not closed by a brace; write {{ for a brace itself", text))
				return
			}
			name, format, _ := strings.Cut(text[1:end], ":")
			if !yield(closingPart{text[:end+1], name, format}, checkClosingName(name, format)) {
				return
			}
			text = text[end+1:]
		}
	}
}

func checkClosingName(name, format string) error {
	if name == "" {
		return errors.New("{} has no name")
	}
	if format == "" {
		return nil
	}
	verb := strings.TrimLeft(strings.TrimPrefix(format, "%"), "+-# 0123456789.")
	if !strings.HasPrefix(format, "%") || len(verb) != 1 || !strings.Contains("dxXobsqv", verb) {
		return fmt.Errorf("format %q of {%s} is not one verb of d, x, X, o, b, s, q, v", format, name)
	}
	return nil
}

// MergeResults merges the named results of all subtasks, given in the order of
// operators and subtasks: sums are added up (wrapping), of texts the distinct ones
// that are not empty are joined by ",". The outcome is sorted by name.
func MergeResults(parts []*metapb.Result) ([]*metapb.Result, error) {
	merged := map[string]*metapb.Result{}
	texts := map[string][]string{}
	for _, r := range parts {
		m := merged[r.Name]
		switch v := r.Value.(type) {
		case *metapb.Result_Sum:
			if m == nil {
				merged[r.Name] = &metapb.Result{Name: r.Name, Value: &metapb.Result_Sum{Sum: v.Sum}}
			} else if s, ok := m.Value.(*metapb.Result_Sum); ok {
				s.Sum += v.Sum
			} else {
				return nil, fmt.Errorf("result %q is a sum and a text", r.Name)
			}
		case *metapb.Result_Text:
			if m == nil {
				m = &metapb.Result{Name: r.Name, Value: &metapb.Result_Text{}}
				merged[r.Name] = m
			}
			s, ok := m.Value.(*metapb.Result_Text)
			if !ok {
				return nil, fmt.Errorf("result %q is a sum and a text", r.Name)
			}
			if v.Text != "" && !slices.Contains(texts[r.Name], v.Text) {
				texts[r.Name] = append(texts[r.Name], v.Text)
				s.Text = strings.Join(texts[r.Name], ",")
			}
		}
	}
	all := make([]*metapb.Result, 0, len(merged))
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		all = append(all, merged[name])
	}
	return all, nil
}
