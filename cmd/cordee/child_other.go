//go:build !linux

package main

import "syscall"

// childAttr keeps Ctrl-C from reaching a child: the demo stops its parts in
// order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
