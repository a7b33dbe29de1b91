// Package intake runs batches of records into the head of a chain: with their event times,
// the state of those that come next warmed ahead, and a stop after the record during which
// attention was raised.
//
// It knows no channel and no edge (taskmanager/exchange), and starts no goroutine: a
// Consumer belongs to its subtask's. It is the inner loop of every subtask with inputs:
// nothing here allocates.
//
// Read intake.go.
package intake
