// Package daemon puts the parts of a JobManager process together: the records
// (embedded or external etcd), the RPC and REST listeners, and the JobManager. The
// command `weir jobmanager` and the demo run it.
//
// It decides nothing and owns only what it opened: everything is closed, in the
// opposite order, when JobManager returns.
package daemon
