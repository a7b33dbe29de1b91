// Package job says what was asked for: the plan a program builds, the graph that
// comes of it by chaining, the ids of vertices, subtasks and attempts, and the
// settings of a job.
//
// A Graph is immutable. It is a pure function of (plan, parallelism of each
// vertex), so the JobManager and every worker compute the same one and only the
// plan travels. Chaining does not depend on the state of the cluster.
//
// The package never does I/O, starts no goroutine, and does not know how a job is
// run (jobmanager/execgraph) or what an operator does (operator).
//
// Read ids.go, then graph.go, regions.go and restart.go.
package job
