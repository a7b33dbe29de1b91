// Package timerheap keeps the times at which keys want to be called in order, without a
// pointer for each.
//
// The table of a timers' state says which timers there are: a heap only says which is next,
// and may hold some that were deleted since, or one twice. Millions of them take 24 bytes each
// (and their keys, of keys that are bytes), which the garbage collector never scans.
//
// It belongs to one goroutine, knows no clock and persists nothing.
package timerheap
