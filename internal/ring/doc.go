// Package ring is a FIFO queue that keeps its buffer. It is not safe for concurrent use:
// its owner has a lock, or is one goroutine.
package ring
