// Package weir is the door for authors of jobs: a job is a Go program that
// declares typed streams in a build function and hands it to Main.
//
//	func main() { weir.Main(build, weir.Checkpoint(10*time.Second)) }
//
//	func build(env *weir.Env) error {
//		env.From("lines", file.Lines("/logs/**")).
//			FlatMapSeq("words", strings.FieldsSeq).
//			KeyBy(weir.Self).
//			Fold("count", 0, func(n int, _ string) int { return n + 1 },
//				func(word string, n int) Count { return Count{word, n} }).
//			To("counts", file.Sink("/counts", appendCount))
//		return nil
//	}
//
// The same binary is the job everywhere: run by hand it is a whole cluster in one
// process; `weir run` has it print its plan and sends it to a cluster, where
// workers run it again. No flag in user code decides which; Main reads the
// environment (main.go).
//
// # Rules for build
//
// build must be pure: with the same arguments (Env.Args) and parameters
// (Env.Param, not os.Getenv) it declares the same operators in the same order. It
// is run twice when a job is planned, and anew for every attempt of every subtask,
// so functions need no registration and share nothing that they capture. Nothing
// is opened or started in it.
//
// The first argument of every operator is its uid: state in snapshots belongs to
// (uid, name of the state), so it must outlive refactoring. "" gives the operator
// an id made of its place in the program; Main warns if it has state. Uids have at
// most 100 bytes and no "/", "#" or control character. Named sets what people see.
//
// # Functions and operators
//
// Map and Filter take plain functions. FlatMap is the general form: it emits any
// number of records and may return an error. FlatMapSeq is sugar for functions
// that already return an iter.Seq, and slower. What needs state, timers or a
// life-cycle is a struct made by a factory, and given to Process; see Processor for
// its optional methods. One instance is made for each subtask.
//
// An error fails the attempt and restarts the job from its last checkpoint; a
// panic does the same and is reported with uid, subtask and stack.
//
// # Threads and ownership
//
// All functions of one subtask are called by one goroutine; several subtasks run at
// once, each with a program of its own. A record must not be changed after it was
// emitted. The package itself starts no goroutine.
//
// # How it is made
//
// Each method closes over its type parameters and leaves two things behind: an
// operator of the plan, and a function that links it with its neighbours when a
// subtask starts (task.Operator). No any, reflection or allocation is left on a
// record's way. No method returns a wrapper of a type built from the receiver's
// own T: Go 1.27 calls that an instantiation cycle.
//
// Read env.go first, then stream.go and keyed.go, then program.go and main.go.
package weir
