//go:build darwin || freebsd || netbsd || openbsd

package demo

import "syscall"

// ofOwnGroup makes a child the first of a process group. It outlives a demo that is killed:
// only Linux ends a child with its parent.
func ofOwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
