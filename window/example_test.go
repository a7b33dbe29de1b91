package window_test

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/window"
)

// Days of UTC+8 begin at 16:00 UTC.
func ExampleAssigner_Offset() {
	days := window.Tumbling(24 * time.Hour).Offset(-8 * time.Hour)
	at := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	for _, w := range days.Grid().Windows(nil, at.UnixMilli()) {
		fmt.Println(w)
	}
	// Output: [2026-11-21T16:00:00.000Z, 2026-11-22T16:00:00.000Z)
}

// A record is in size ÷ slide windows, negative times too.
func ExampleSliding() {
	for _, w := range window.Sliding(10*time.Millisecond, 5*time.Millisecond).Grid().Windows(nil, -1) {
		fmt.Println(w.Start, w.End)
	}
	// Output:
	// -10 0
	// -5 5
}

// A gap of nothing is refused when the job is planned.
func ExampleAssigner_Err() {
	fmt.Println(window.Session(0).Err())
	// Output: window.Session: a gap of 0s is not possible, it must be positive
}
