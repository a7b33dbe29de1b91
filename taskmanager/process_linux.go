package taskmanager

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ofOwnGroup makes a child the first of a process group, which is killed when the thread
// ends that has forked it.
func ofOwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// onMainThread reports whether the caller runs on the process's main thread.
func onMainThread() bool { return unix.Gettid() == unix.Getpid() }

// awaitExit returns when child pid has ended, which stays to be waited for.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // an error here is one of Wait, too
		}
	}
}
