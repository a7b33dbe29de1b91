package wal_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/wal"
	"github.com/weirstream/weir/weirtest"
)

// Count is how often a word was seen.
type Count struct {
	Word string
	N    int
}

// rows is a target: a table with a column for the ids of batches.
type rows struct {
	ids   map[string]bool
	table []Count
}

// Committed looks for the batch's id in the table.
func (r *rows) Committed(_ context.Context, b wal.Batch) (bool, error) { return r.ids[b.ID], nil }

// Write inserts the records and the batch's id in one transaction.
func (r *rows) Write(_ context.Context, b wal.Batch, records iter.Seq[Count]) error {
	r.table = slices.AppendSeq(r.table, records)
	r.ids[b.ID] = true
	return nil
}

func countWords(open func() (*rows, error)) func(env *weir.Env) error {
	return func(env *weir.Env) error {
		counts := env.From("lines", weirtest.NewFeed[string](nil)).
			FlatMapSeq("split", strings.FieldsSeq).
			KeyBy(weir.Self).
			Fold("count", 0, func(n int, _ string) int { return n + 1 }, func(w string, n int) Count { return Count{w, n} }, weir.AtEnd).
			Rebalance().Map("all", weir.Self, weir.Parallelism(1))
		counts.To("table", wal.Sink(func(*weir.Setup) (wal.Target[Count], error) { return open() }), weir.Parallelism(1))
		return nil
	}
}

func TestExample(t *testing.T) {
	r := &rows{ids: map[string]bool{}}
	weirtest.Run(t, countWords(func() (*rows, error) { return r, nil }), weirtest.Replace("lines", "a b", "a")).Wait()
	slices.SortFunc(r.table, func(a, b Count) int { return strings.Compare(a.Word, b.Word) })
	if got := fmt.Sprint(r.table); got != "[{a 2} {b 1}]" {
		t.Errorf("table %s", got)
	}
}
