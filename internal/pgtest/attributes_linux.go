package pgtest

import "syscall"

// attributes lets a process end when this one does, and keeps Ctrl-C from it.
func attributes(c *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: c, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
