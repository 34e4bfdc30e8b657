//go:build unix && !linux

package pgtest

import "syscall"

// attach keeps Ctrl-C from a process.
func attach(a *syscall.SysProcAttr) { a.Setpgid = true }
