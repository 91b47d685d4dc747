package sandbox

import "syscall"

// attributes of every child: a process group of its own, and SIGKILL from the
// kernel when the thread that forked it ends (see forker).
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
