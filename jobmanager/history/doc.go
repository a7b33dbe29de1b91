// Package history is what people are told of a job: its checkpoints, failures and
// results, from what a leader has seen (History) and from what is on record (OfRecord,
// Ended). REST and command line show it in the types of client/api.
//
// It is pure: no I/O, no goroutine, no clock. The loop of a JobMaster owns its History;
// nothing here decides anything, so that a
// wrong line of it loses nothing.
//
// Read history.go.
package history
