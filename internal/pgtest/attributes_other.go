//go:build unix && !linux

package pgtest

import "syscall"

// attributes keeps Ctrl-C from a process.
func attributes(c *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: c, Setpgid: true}
}
