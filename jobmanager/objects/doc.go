// Package objects keeps what is too large for the records of the high-availability
// store, job binaries and large plans, in a folder that all JobManagers share: each
// object under its SHA-256, immutable, durable before its name is anywhere.
//
// It deletes only what it is told to, and not what a submission holds. It knows no jobs.
// No goroutines.
//
// Read objects.go.
package objects
