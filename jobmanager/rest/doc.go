// Package rest serves the HTTP API of a JobManager: Flink's paths and forms, one
// richer view for the weir command, and a first page for people. It reads and changes
// the cluster only through the interface Cluster, so it never touches a store, a
// TaskManager or a file.
//
// Doors are shut by default (architecture §9): a route that is not in the table of
// routes.go does not exist; each has its method, its need of a leader, its right and
// its limit on bodies. Requests pass, in this order, host allow-list, cross-origin
// check, token, leader (a standby redirects), limits, handler.
//
// It starts no goroutine of its own; net/http runs one for each connection. A Server
// is stopped by the context given to Serve.
//
// Read cluster.go, then routes.go; flink.go makes Flink's forms of package api's views.
package rest
