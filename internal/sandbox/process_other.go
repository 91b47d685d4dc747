//go:build !linux

package sandbox

import "syscall"

// attributes of every child. There is no parent-death signal outside Linux: a
// child outlives a parent that was killed with SIGKILL.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
