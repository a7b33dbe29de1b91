// Package memnet is a network inside one process, for local mode and for tests in a
// synctest bubble.
//
// It starts no goroutine: Dial waits for Accept.
package memnet
