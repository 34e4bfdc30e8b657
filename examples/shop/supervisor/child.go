package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// A process that died is started again after a pause, which doubles from the
// first to the longest while its lives are short. After so many short lives in a
// row it is given up.
const (
	firstPause  = 50 * time.Millisecond
	longestWait = time.Second
	shortLife   = 2 * time.Second
	shortLives  = 10
)

// A child is a process that is kept going.
type child struct {
	process Process
	config  Config
	fail    func(error)
	log     string
	out     *os.File

	stop chan struct{} // closed when it is to drain and not to be started again
	gone chan struct{} // closed when it is not running any more

	mu       sync.Mutex
	stopping bool
	cmd      *exec.Cmd      // while it runs
	stdin    io.WriteCloser // while it runs: its end tells it to drain
	killed   bool           // by us, in this life: not the process's own fault
	restarts int
	memory   int64 // most of the lives so far
}

func newChild(s *Supervisor, p Process) (*child, error) {
	path := s.logPath(p.Name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return &child{
		process: p, config: s.config, fail: s.fail, log: path, out: out,
		stop: make(chan struct{}), gone: make(chan struct{}),
	}, nil
}

// keep runs the process over and over until it is to stop.
func (c *child) keep() {
	defer close(c.gone)
	defer c.out.Close()

	// Linux kills a process when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	pause, short := firstPause, 0
	for {
		began := time.Now()
		err := c.live()
		if c.isStopping() {
			return
		}
		c.config.Logger.Warn("process died and is started again", "name", c.process.Name, "error", err)
		if time.Since(began) >= shortLife || c.wasKilled() {
			pause, short = firstPause, 0
		}
		if short++; short == shortLives {
			c.fail(fmt.Errorf("%s died %d times in a row, at last by %w; the end of %s:\n%s", c.process.Name, short, err, c.log, c.lastWords()))
			return
		}
		select {
		case <-c.stop:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longestWait)
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

// live runs the process once.
func (c *child) live() error {
	cmd := exec.Command(c.config.Program, c.process.Args...) //nolint:noctx // it ends by drain
	cmd.Env = append(os.Environ(), c.process.Env...)
	cmd.Stdout, cmd.Stderr = c.out, c.out
	cmd.SysProcAttr = attributes()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.begin(cmd, stdin); err != nil {
		return err
	}
	err = cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd, c.stdin = nil, nil
	return err
}

func (c *child) begin(cmd *exec.Cmd, stdin io.WriteCloser) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return stdin.Close()
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.stdin, c.killed = cmd, stdin, false
	return nil
}

// drain tells the process to end.
func (c *child) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return
	}
	c.stopping = true
	close(c.stop)
	if c.cmd != nil {
		_ = resume(c.cmd.Process)
		_ = c.stdin.Close() // it has none when it is gone already
	}
}

func (c *child) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

func (c *child) wasKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// signal does something to the process, if it runs, and reports whether it was
// done.
func (c *child) signal(do func(*os.Process) error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return false
	}
	c.measure()
	c.killed = true
	return do(c.cmd.Process) == nil
}

// measure is called with mu locked.
func (c *child) measure() {
	if c.cmd != nil {
		c.memory = max(c.memory, peakMemory(c.cmd.Process.Pid))
	}
}

func (c *child) status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.measure()
	s := Status{Name: c.process.Name, Restarts: c.restarts, Memory: c.memory, Log: c.log}
	if c.cmd != nil {
		s.PID = c.cmd.Process.Pid
	}
	return s
}

// lastWords returns the end of what the process wrote.
func (c *child) lastWords() string {
	const most = 1 << 10
	data, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	if len(data) > most {
		data = data[len(data)-most:]
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	return string(data)
}

func kill(p *os.Process) error { return p.Kill() }
