// Package restore decides what each subtask of a new deployment starts from, given
// the _metadata of a snapshot taken at any other parallelism and by another version
// of the program.
//
// Keyed state goes by key-group range: a new subtask gets, of every old subtask
// whose range it shares, the runs by reference and the range to clip them to.
// Operator state goes by its kind: split lists are dealt out round robin, union
// lists to everybody, broadcast state from one to everybody. Named results stay where
// they are or, after a rescale, begin with one base at subtask 0. Nothing is copied and no run is opened.
//
// State ids are allocated here, once for each (uid, name), and never used again
// (design A8).
//
// Pure: no I/O, no goroutines, no dependence on map order. Schema compatibility is
// checked by the worker, which knows the codecs; here only the kinds.
// Invariants: I14 (somebody else's runs are referred to by their absolute base),
// I16, I19 (the watermark is the minimum of what is taken over), I21 (the plan for
// one subtask names only what it needs).
//
// Read plan.go, then redistribute.go and stateid.go.
package restore
