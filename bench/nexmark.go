package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/bench/nexmark"
)

// query ends a NEXMark query in the sums of its results.
type query func(env *weir.Env, c nexmark.Config, events *weir.Stream[nexmark.Event], p params)

var queries = map[string]query{
	"q0": summed(nexmark.Q0), "q1": summed(nexmark.Q1), "q2": summed(nexmark.Q2), "q3": summed(nexmark.Q3),
	"q4": summed(nexmark.Q4), "q5": summed(nexmark.Q5), "q6": summed(nexmark.Q6), "q7": summed(nexmark.Q7),
	"q8": summed(nexmark.Q8), "q9": summed(nexmark.Q9), "q11": summed(nexmark.Q11), "q12": summed(nexmark.Q12),
	"q13": func(env *weir.Env, c nexmark.Config, events *weir.Stream[nexmark.Event], p params) {
		endInSums(nexmark.Q13(events, nexmark.SideInput(env, c), c.SideInputRows), p)
	},
}

func summed[R interface{ Checksum() uint64 }](q func(*weir.Stream[nexmark.Event]) *weir.Stream[R]) query {
	return func(_ *weir.Env, _ nexmark.Config, events *weir.Stream[nexmark.Event], p params) {
		endInSums(q(events), p)
	}
}

func endInSums[R interface{ Checksum() uint64 }](results *weir.Stream[R], p params) {
	results.To("sums", sums[R]{word: R.Checksum, rate: p.sinkRate})
}

func declareNexmark(env *weir.Env, p params) {
	c := nexmark.Default()
	queries[p.query](env, c, nexmark.Events(env, c, int64(p.n), p.source...), p)
}

// checkQuery refuses a query that there is not, or one for another workload.
func checkQuery(query, workload string) error {
	switch _, ok := queries[query]; {
	case workload != "nexmark" && query != "":
		return fmt.Errorf("--query belongs to workload nexmark, not to %s", workload)
	case workload == "nexmark" && !ok:
		all := slices.SortedFunc(maps.Keys(queries), func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		return fmt.Errorf("there is no NEXMark query %q; --query is one of %s", query, strings.Join(all, ", "))
	}
	return nil
}
