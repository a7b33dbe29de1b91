package operator

import (
	"math"
	"time"
)

// Event time is int64 ms since 1970. What people see of it is time.Time.

// EventTime is the time.Time of an event time.
func EventTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// EventMillis is at as event time, rounded down to ms; what lies beyond its ends (292
// million years) becomes the end.
func EventMillis(at time.Time) int64 {
	const most = math.MaxInt64 / 1000
	switch s := at.Unix(); {
	case s >= most:
		return math.MaxInt64
	case s <= -most:
		return NoTime + 1
	}
	return at.UnixMilli()
}

// ActiveSplit is a split that a reader has and has not read to its end.
type ActiveSplit struct {
	// ID is the reader's number for it: small, and used again when a split has ended.
	ID int32
	// Waiting says that the split's system has nothing more for it at present. A split
	// with a known next record, one that is paused or paced, or that has not been begun,
	// does not wait.
	Waiting bool
}

// SplitReader is implemented by readers of several splits: event time is kept for each
// and merged by minimum. The records of a Poll are then all of the split Polled.Split.
type SplitReader interface {
	// ActiveSplits appends the splits that the reader has to dst.
	ActiveSplits(dst []ActiveSplit) []ActiveSplit
}

// TimeKeeper is an operator that gives records their event time and makes watermarks
// for whatever follows it in its subtask and beyond. It ignores watermarks that come to
// it.
type TimeKeeper interface {
	// Resume is called once before the first record: at is the watermark that the operator
	// had come to in the snapshot that the subtask starts from, else math.MinInt64.
	Resume(at int64)
	// Tick is called between batches, every now and then: at least once in
	// Runtime.WatermarkInterval while records come, and when they pause. splits are those
	// of the source that the operator is chained to, or a single one, 0. stalled says that
	// the subtask was kept from reading since the last call.
	Tick(now time.Time, splits []ActiveSplit, stalled bool) Tick
}

// Tick is what a TimeKeeper has come to.
type Tick struct {
	Watermark int64 // never goes back
	Idle      bool  // nothing is to be expected for a while
	// Wait is when Tick must be called again although nothing happens; 0: need not be.
	Wait time.Duration
	// Holder is the ActiveSplit.ID of the split that stands earliest, -1: there is none.
	Holder int32
}

// SplitNamer is implemented by a SplitReader whose splits have names that people know.
type SplitNamer interface {
	// SplitName names the split with that ActiveSplit.ID, in a few words ("file a.txt").
	SplitName(id int32) string
}

// TimeAligner is implemented by a TimeKeeper whose source waits for others when it is too far
// ahead of them.
type TimeAligner interface {
	// TimeGroup names the sources that wait for one another; "": this one does for none.
	TimeGroup() string
	// AlignTo says how far the earliest source of the group is; watermark.Max lifts the bound.
	AlignTo(at int64)
	// Ahead reports whether the source is to rest.
	Ahead() bool
}

// Flusher is implemented by operators that keep records back to hand fewer on. Flush
// emits what they hold: before a barrier, a watermark and the end of the input pass, and
// when the input pauses. So such an operator has no state.
type Flusher interface{ Flush() error }

// WatermarkListener is implemented by operators that act when event time advances,
// before consumers are told: asynchronous ones keep order by it.
type WatermarkListener interface{ OnWatermark(at int64) error }

// WatermarkResumer is implemented by operators that must know how far consumers may be. It
// is called once before the first record, with the watermark that consumers had been told
// in the snapshot that the subtask starts from, else math.MinInt64.
type WatermarkResumer interface{ ResumeWatermark(at int64) }
