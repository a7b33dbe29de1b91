package savepoint

import (
	"runtime"
	"syscall"
)

// niceness of the threads that copy: beside a thread that is always busy one of them has
// 70 of 1094 parts of a processor (6 %), alone all of it. A job whose snapshot is copied
// on its own host is slowed down by less than a tenth.
const niceness = 12

// gentle makes f run in threads that give way to others. A thread's priority can't be
// raised again without a privilege: it ends with its goroutine.
func gentle(f func(i int) error) func(i int) error {
	return func(i int) error {
		runtime.LockOSThread()
		// 0: the calling thread. If it can't be done, the copy is only less polite.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness)
		return f(i)
	}
}
