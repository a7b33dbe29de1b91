// Command weir is the one program of Weir: it runs and watches jobs on a cluster, and
// is the cluster's daemons, JobManager and TaskManager.
//
// Data goes to stdout, talk to stderr. A command only watches what the cluster does:
// Ctrl-C detaches and never cancels. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found,
// 4 conflict, 5 incompatible, 6 unavailable, 7 the job ended FAILED or CANCELED while
// attached, 8 --timeout passed, 130 detached. An error says what, why, what to type and
// a stable code.
//
// The command holds no state and decides nothing about jobs: that is the JobManager's.
// It starts no goroutine but those that a daemon is made of.
//
// Read main.go, then root.go; each verb has a file of its name.
package main
