//go:build darwin || freebsd || netbsd || openbsd

package taskmanager

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ofOwnGroup makes a child the first of a process group. The kernel has no way to end it
// with its parent: a worker ends by itself when the agent's control stream does.
func ofOwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// onMainThread matters only where children end with the thread that has forked them.
func onMainThread() bool { return false }

// awaitExit returns when child pid has ended, which stays to be waited for.
func awaitExit(pid int) {
	queue, err := unix.Kqueue()
	if err != nil {
		return // Wait waits; what the child has forked may outlive it
	}
	defer unix.Close(queue)
	var e unix.Kevent_t
	unix.SetKevent(&e, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	e.Fflags = unix.NOTE_EXIT
	for {
		// ESRCH: it has ended already.
		if _, err := unix.Kevent(queue, []unix.Kevent_t{e}, make([]unix.Kevent_t, 1), nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
