package pgtest

import "syscall"

// attach lets a process end when this one does, and keeps Ctrl-C from it.
func attach(a *syscall.SysProcAttr) { a.Setpgid, a.Pdeathsig = true, syscall.SIGQUIT }
