// Package api is what the REST API says: the views of cluster, jobs, checkpoints and
// TaskManagers as JSON, a submission, and the errors. The JobManager fills the views,
// jobmanager/rest serves them, package client and the weir command read and print them.
//
// The names in JSON are a stable interface: golden tests hold them. Fields are added,
// never renamed. Names are those of the field in lower case with dashes; a duration
// named "duration" or "…-ms" is in milliseconds, a time is RFC 3339 in UTC. Flink's own
// paths have Flink's own forms, which jobmanager/rest makes of these views.
//
// The package does no I/O, starts no goroutine and holds no state. Read job.go first, then operation.go and checkpoint.go.
package api
