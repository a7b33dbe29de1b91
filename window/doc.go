// Package window says which windows records belong to, when a window's result is emitted
// and what is thrown away before: assigners, triggers and evictors, as values that a job
// is declared with.
//
//	byUser.Window(window.Tumbling(time.Minute)).Fold(…)
//	byUser.Window(window.Sliding(10*time.Second, time.Second)).Reduce(…)
//	byUser.Window(window.Session(30*time.Minute)).Process(…)
//	byUser.Window(window.Global()).Trigger(window.Purging(window.Every(100))).Process(…)
//
// Times are ms since 1970 (Span); ends are exclusive. A result has the last ms of its
// window as its event time. Arithmetic never overflows: a time within 2^48 ms (8,900
// years) of the ends of int64 counts as if it were that far from them.
//
// It is pure: no state, no clock, no goroutine; what runs them is operator/windowing.
// Mistakes (a size of zero, a gap below a millisecond) are kept in the value and said
// when the job is planned (Assigner.Err, Trigger.Err, Evictor.Err).
//
// Invariants: the slices of a Grid are disjoint and follow one another without a gap;
// each window is made of whole slices.
//
// Read span.go first, then assigner.go, grid.go, trigger.go and evictor.go.
package window
