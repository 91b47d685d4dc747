package main

import "syscall"

// childAttr makes a child die with us, and keeps Ctrl-C from reaching it: the
// demo stops its parts in order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
