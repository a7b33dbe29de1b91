// Package windowing runs windows: it puts records into them, fires them when their trigger
// says so, and forgets them. Package window says what there is; the methods of Windowed in
// package weir declare it.
//
// Two machines do the work, both an operator on a keyed stream:
//
//   - Sliced: tumbling and sliding windows with a result that is made record by record and
//     fires at the end of the window. It keeps one accumulator for each key and slice of
//     time, whatever the number of windows that share the slice, and merges slices when a
//     window fires: a record costs the same for 10 s by 1 s as for 10 s.
//   - Windows: everything else, as Flink's WindowOperator: sessions, other triggers,
//     evictors, functions that see all elements, processing time, counts.
//
// Before the shuffle a PreAggregator may fold records of one key and slice into a Partial,
// which a Sliced takes instead of records. It holds nothing over a barrier, a watermark or
// a pause, so it has no state. A Partial never mixes slices, and only holds records that
// were not late for any window by the watermark of its subtask; behind it no consumer's
// watermark can be further. Records that may be late go on by themselves, each in a
// Partial of its own, so the consumer decides record by record: it drops and counts the
// same ones, and fires as often, as without. Results are the same as long as the merge is
// associative and commutative, exactly.
//
// # State
//
// All is keyed state, so incremental, and rescaled with the keys:
//
//	weir.panes      Sliced: map from the end of a slice to its accumulator.
//	                Windows: map from a window's id to its elements, or its accumulator if
//	                that has no fixed width
//	weir.windows    Sliced, if windows overlap: ends of the key's slices, ascending.
//	                Windows: the key's windows by start (Entry), with their accumulators if
//	                those have a fixed width of 64 bytes or less (FullEntry)
//	weir.triggers   map from a window's id to window.State, if the trigger has any
//
// A window's id is its start; of a session, the start that it had when it began.
//
// Timers are of keys and times; which windows one is for is found by arithmetic (Sliced) or
// in the key's list (Windows). There a key needs one timer of a clock at a time, that of the
// window that waits for the earliest: when it fires the next is set. What a window waits for
// is not moved when it grows or merges: it is called at the old time, sees that, and waits on.
// A timer that no window waits for any more does nothing.
//
// Invariants: windows of a key are disjoint if they are sessions, and ordered by start; a
// live window's clean-up lies ahead of the watermark; no window of a key waits for a time
// before its earliest timer; a slice is listed as long as it has
// an accumulator.
//
// No goroutine, no I/O, no clock: everything is called by the subtask's loop. Nothing is
// allocated for a record but what user functions, or accumulators with pointers, need.
//
// Read aggregate.go first, then sliced.go, preagg.go, windows.go and index.go.
package windowing
