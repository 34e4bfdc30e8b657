package main

import (
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// A child is a process that a test has started, and what it said.
type child struct {
	*exec.Cmd
	said *lockedBuffer
	done chan struct{} // closed when it has ended
}

func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd, &lockedBuffer{}, make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c.said, c.said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // killed, or it says why in what it printed
	}()
	return c, nil
}

func (c *child) hasEnded() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *child) kill() {
	_ = c.Process.Kill() // may have ended
	<-c.done
}

// term asks the process to end, and checks that it does in order.
func (c *child) term(t *testing.T) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%v has ended: %v\n%s", c.Args, err, c.said.String())
	}
	<-c.done
	if !c.ProcessState.Success() {
		t.Errorf("%v was asked to end: %v\n%s", c.Args, c.ProcessState, c.said.String())
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
