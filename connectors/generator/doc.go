// Package generator is a source that makes its records: record i is a pure
// function of i, so every run of a job, on any machine and after any failure,
// reads the same input. It is for benchmarks, demos and tests.
//
//	env.From("orders", generator.Range(1_000_000, func(i uint64) Order { … }, generator.Rate(5000)))
//
// Records 0 … n−1 are divided over the source's subtasks in contiguous ranges, as
// evenly as it goes. A reader's snapshot is what is left of its ranges, in up to
// 8 pieces, so that a restore at another parallelism still finds
// something for every subtask; readers join adjacent pieces again.
//
// With Interleaved they are divided into stripes instead, 8 for each subtask, which are
// read in step: for records whose event time grows with their number.
//
// A rate is of the whole job. Each split carries its share of it, in proportion to
// the records that it holds; the shares of all splits add up to 1 as long as no
// reader has ended.
//
// The package starts no goroutine, reads the clock once per Poll and only if there
// is a rate, and makes no allocation per record or batch (what the user's function
// allocates apart). It knows nothing of the runtime beyond package operator.
//
// The layouts of splits in a snapshot are written down in split.go and interleaved.go. Read
// source.go first, then interleaved.go and pace.go.
package generator
