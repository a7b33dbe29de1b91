// Package slots matches the slots of TaskManagers with the jobs that want them.
//
// It is pure: a Pool is changed by its owner, the dispatcher, and tells what is to
// be granted; it touches no network, clock or lock, and gives the same answers for
// the same calls. With slot sharing a slot holds one subtask of every vertex, so a
// job wants as many slots as its largest parallelism.
//
// A job gets all that it misses at once or nothing, so that two jobs never hold
// each other's half. Jobs are served in the order in which they asked. Slots that
// a job has are never moved.
package slots
