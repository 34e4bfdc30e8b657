package pgtest

import (
	"os/exec"
	"runtime"
)

// start starts a process and waits for it. It keeps its thread until then: on
// Linux the process dies with it.
func start(cmd *exec.Cmd, started chan<- error, exited chan<- struct{}) {
	defer close(exited)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err == nil {
		_ = cmd.Wait() // what became of it is in its output
	}
}
