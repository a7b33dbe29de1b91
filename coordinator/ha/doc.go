// Package ha keeps what must survive a leader: who leads (Election), and the
// records of jobs (Jobs) on a small key-value contract (KV) with two
// implementations, memha for local mode and tests and etcdha for production.
//
// Every mutation is one transaction guarded by the leader's election key (I1): a
// leader that has lost the election without knowing changes nothing and gets
// ErrFenced. A transaction whose result is not known gives ErrUnknown; callers
// read back before they decide, and delete nothing until then (I4). One that arrives
// late, after its leader has gone on, is not applied: the transactions of a job form a
// chain (sequence.go).
//
// The keys below the cluster's prefix are (architecture: etcd keys)
//
//	cluster                    metapb.ClusterRecord, created once
//	leader/…                   election, value metapb.LeaderRecord
//	accepted/{id}              a job id is accepted once, for ever (I6)
//	jobs/{id}/graph            metapb.JobRecord
//	jobs/{id}/incarnation      metapb.Incarnation
//	jobs/{id}/sequence         of the job's last transaction: "<epoch>.<n>"
//	jobs/{id}/checkpoint-id    highest id reserved, decimal
//	jobs/{id}/checkpoints/{n}  metapb.CheckpointPointer, n in 20 digits
//	jobs/{id}/statistics       metapb.CheckpointStatistics, written with each pointer
//	jobs/{id}/operations/{t}   metapb.Operation, t is the client's trigger id
//	jobs/{id}/failures         metapb.Failures, written as they happen
//	jobs/{id}/intent           metapb.Intent
//	jobs/{id}/result           metapb.JobResult, written once, before clean-up
//	disposals/{t}              metapb.Operation, of no job
//	disposal-sequence          of the last transaction about disposals
//
// The package holds no bulk data, never decides what to do with a job, and starts
// no goroutine of its own (implementations do, and say so).
//
// Read store.go, then jobs.go, then sequence.go.
package ha
