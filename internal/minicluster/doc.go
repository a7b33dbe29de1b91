// Package minicluster wires a whole cluster in one process: a JobManager,
// TaskManagers and workers as objects, the records in memory, gRPC and the data
// path over in-memory connections. Local mode (`go run ./yourjob`) and whole-job
// tests run on it: the code is production's, only the listeners differ.
//
// It owns nothing but the wiring. Everything ends with Close.
package minicluster
