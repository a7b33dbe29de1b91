// Package client speaks to a cluster's REST API: what the weir command is made of, and
// what programs that manage jobs can use. Views and errors are those of client/api.
//
// Any JobManager will do as an address: a standby redirects to the leader, and while
// there is none the client waits, within a budget. All its requests are safe to send
// twice, so a connection that broke is no error of its own.
//
// A Client may be used from many goroutines and starts none that outlive a call.
//
// Read client.go, then submit.go, operation.go and find.go.
package client
