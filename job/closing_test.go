package job

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/proto/metapb"
)

func sum(name string, v uint64) *metapb.Result {
	return &metapb.Result{Name: name, Value: &metapb.Result_Sum{Sum: v}}
}

func text(name, v string) *metapb.Result {
	return &metapb.Result{Name: name, Value: &metapb.Result_Text{Text: v}}
}

func TestClosingLine(t *testing.T) {
	results := []*metapb.Result{
		sum("results", 20000000), sum("checksum", 0x797ebb8d892a5b3b), sum("small", 0xabc), text("p50.0", "0.57"),
	}
	for _, c := range []struct{ text, rateOf, want string }{
		{"", "n", ""},
		{"no names", "", "no names"},
		{
			"workload=count n={n} ms={ms} rate={rate}/s results={results} checksum={checksum:%016x}", "n",
			"workload=count n=20000000 ms=25863 rate=773305/s results=20000000 checksum=797ebb8d892a5b3b",
		},
		{"p50.0={p50.0}ms", "", "p50.0=0.57ms"},
		{"{small:%016x} {small:%6d}|", "", "0000000000000abc   2748|"},
		{"{rate} without a number", "", "{rate} without a number"},
		{"{ms} {rate}", "many", "25863 713248427240055353"},
		{"{nobody} {{n}} {n", "n", "{nobody} {n}} {n"},
	} {
		plan := &metapb.Plan{
			ClosingLine: c.text, RateOf: c.rateOf, Params: []*metapb.Setting{{Key: "n", Value: "20000000"}, {Key: "ms", Value: "an environment variable"}, {Key: "many", Value: "18446744073709551615"}},
		}
		if got := ClosingLine(plan, results, 25863*time.Millisecond); got != c.want {
			t.Errorf("%q:\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestCheckClosingLine(t *testing.T) {
	for text, ok := range map[string]bool{
		"":                       true,
		"{ms} {checksum:%016x}":  true,
		"{{ is a brace":          true,
		"{open":                  false,
		"{}":                     false,
		"{n:x}":                  false,
		"{n:%d%d}":               false,
		"{n:%n}":                 false,
		"{n:%*d}":                false,
		"fine, then {n:%} not":   false,
		"{rate}/s {p99.9}ms {p}": true,
	} {
		err := CheckClosingLine(text)
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrClosingLine) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMergeResults(t *testing.T) {
	got, err := MergeResults([]*metapb.Result{
		sum("b", 1<<63), text("a", ""), sum("b", 1<<63), text("a", "x"), text("a", "y"), text("a", "x"), sum("c", 7), sum("b", 5),
	})
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if got[0].GetText() != "x,y" || got[1].GetSum() != 5 || got[2].GetSum() != 7 {
		t.Errorf("merged to %v", got)
	}
	if _, err := MergeResults([]*metapb.Result{sum("a", 1), text("a", "x")}); err == nil {
		t.Error("a result that is a sum and a text was merged")
	}
}

// TestClosingNames: a name that nothing will go by is refused with the plan, by name.
func TestClosingNames(t *testing.T) {
	plan := func(line, rateOf string) *metapb.Plan {
		return &metapb.Plan{
			Name: "p", ClosingLine: line, RateOf: rateOf, Params: []*metapb.Setting{{Key: "N", Value: "5"}},
			Operators: []*metapb.Operator{{
				Uid: "in", Kind: metapb.OperatorKind_OPERATOR_KIND_SOURCE,
				States: []*metapb.State{{Name: "words", Kind: metapb.StateKind_STATE_KIND_RESULT}, {Name: "pending", Kind: metapb.StateKind_STATE_KIND_UNION_LIST}},
			}},
		}
	}
	for line, want := range map[string]string{
		"":                            "",
		"{words} of {N} in {ms} {{x}": "",
		"{words:%016x}":               "",
		"{wrods} words":               "{wrods}",
		"{pending}":                   "{pending}",
		"{rate}/s":                    "{rate} needs Env.RateOf",
		"{words":                      "not closed",
	} {
		err := ValidatePlan(plan(line, ""))
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrInvalidPlan) || !errors.Is(err, ErrClosingLine) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	if err := ValidatePlan(plan("{rate}/s", "N")); err != nil {
		t.Error(err)
	}
}
