// Package weirpb is the control protocol between JobManagers, TaskManager agents
// and workers, as protobuf messages and gRPC services. Records never travel here.
//
// Generated from control.proto by `make proto`. The protocol is versioned: an
// agent and a worker negotiate, and two older minor versions are served.
package weirpb
