package demo

import "syscall"

// ofOwnGroup makes a child the first of a process group that dies with the demo.
func ofOwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
