// Package session serves the TaskManagers' streams: it takes registrations or refuses
// them with a reason, carries what is said both ways, and ends a stream whose TaskManager
// is silent or does not read. Binaries are fetched through it.
//
// It decides nothing about jobs, slots or workers: the leader is told (Leader).
//
// Goroutines: for each stream the one that gRPC gives, one that sends, and one that waits
// in Recv. All end with the stream.
//
// Invariant: I2 (every message carries the epoch of the leader that took the stream).
//
// Read session.go.
package session
