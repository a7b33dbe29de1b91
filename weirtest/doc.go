// Package weirtest tests jobs: one operator by itself, and whole jobs on a cluster in
// the test's process.
//
// A Harness is one subtask of an operator with its state and its clock:
//
//	h := weirtest.Keyed(t, newIdle, Order.UserID)
//	h.Push(t0, Order{User: "ann", Cents: 2000})
//	h.Restore(h.Snapshot()) // every test can cross a failure
//	h.Advance(time.Hour)    // processing-time timers fire
//	got := h.Output()
//
// It does what the subtask's loop does, with the same tables, codecs and cuts: state is
// really encoded at a Snapshot and decoded at a Restore, into a new instance of the
// operator. It checks as a job's planning does: an optional method with a wrong
// signature, a state of a type without a codec, a key that cannot be one fail the test.
// Its clock stands still unless Advance moves it. Nothing of it runs in another
// goroutine; it belongs to its test's.
//
// Run runs a whole job, its sources and sinks replaced by uid:
//
//	orders := weirtest.NewFeed(t, first...)
//	c := weirtest.Run(t, build, weirtest.TaskManagers(3),
//		weirtest.ReplaceSource("orders", orders), weirtest.Capture("alerts", &got))
//	c.AwaitCheckpoint(2)
//	c.KillTaskManager(1)
//	orders.Send(more...)
//	orders.End()
//	c.Wait() // got holds what the job committed, each record once
//
// A job goes on from what another has left behind, of the same program or the next one:
//
//	saved, _ := c.Stop() // or c.Savepoint(), c.NativeSavepoint(), c.Retained()
//	weirtest.Run(t, buildV2, weirtest.From(saved), weirtest.Setting("parallelism.default", "3"), …)
//
// Refused is Run for one that must not be started so. A running job gets another
// parallelism by Rescale, one operator of it by RescaleOperator. A Harness goes to another
// parallelism too, and to another version of its operator:
//
//	s := h.Snapshot()
//	h.RestoreAt(3, s) // three subtasks from here on; Push finds the one that has the key
//	next := weirtest.Keyed(t, newIdleV2, Order.UserID)
//	next.RestoreAt(2, s)
//
// JobManager, TaskManagers, tasks, exchange, state and checkpoints are those of
// production, in goroutines that end with the test. The clock is the real one; no
// method sleeps, they wait for what they are called after. The job's program is the
// replaced one in all of the cluster, so its plan and state are consistent, but are not
// those of the real one.
//
// Read harness.go for operators; option.go, then job.go and savepoint.go for jobs.
package weirtest
