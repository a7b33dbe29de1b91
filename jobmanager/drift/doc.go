// Package drift says how far the event time of sources that wait for one another has come:
// that of the earliest in each group. Sources report once a second and rest while they are too
// far ahead of it; what is too far is their own affair.
//
// It is pure: no clock, no goroutine, no I/O. A report of an attempt that is over counts for
// nothing, nor does a source that has not begun, is idle or has ended.
package drift
