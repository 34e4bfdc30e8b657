package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Config says where processes run.
type Config struct {
	Program string // the executable
	Logs    string // directory of NAME.log, to which what a process writes is appended

	// Patience is how long all processes have to drain before they are killed.
	Patience time.Duration

	Logger *slog.Logger
}

// A Process is one to keep going.
type Process struct {
	Name string
	Args []string
	Env  []string // besides the supervisor's own

	// Ready reports whether the process does its work. It is called every now
	// and then until it says so.
	Ready func(ctx context.Context) bool
}

// A Supervisor keeps processes going. Make one with New, and Stop it. Its methods
// are safe for concurrent use.
type Supervisor struct {
	config Config
	failed chan error // holds the first failure

	mu     sync.Mutex
	groups [][]*child // in the order in which they were started
}

// New returns a supervisor of no processes.
func New(c Config) (*Supervisor, error) {
	if err := os.MkdirAll(c.Logs, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of logs: %w", err)
	}
	return &Supervisor{config: c, failed: make(chan error, 1)}, nil
}

// readyEvery is how often it is asked whether a process is ready.
const readyEvery = 20 * time.Millisecond

// Start starts a group of processes and returns when all are ready. A group is
// drained before those that were started before it.
func (s *Supervisor) Start(ctx context.Context, group ...Process) error {
	children, err := s.keep(group)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(readyEvery)
	defer ticker.Stop()
	for _, c := range children {
		for !c.process.Ready(ctx) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("start %s: %w", c.process.Name, ctx.Err())
			case err := <-s.failed:
				s.failed <- err // for Wait
				return err
			case <-ticker.C:
			}
		}
	}
	return nil
}

// keep begins to keep a group of processes going, or none of them.
func (s *Supervisor) keep(group []Process) ([]*child, error) {
	children := make([]*child, 0, len(group))
	for _, p := range group {
		c, err := newChild(s, p)
		if err != nil {
			for _, c := range children {
				_ = c.out.Close() // nothing was written
			}
			return nil, err
		}
		children = append(children, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, children)
	for _, c := range children {
		go c.keep()
	}
	return children, nil
}

// Wait returns the error of a process that cannot be kept going, or nil when ctx
// ends.
func (s *Supervisor) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

func (s *Supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default: // there is one already
	}
}

// Stop drains all processes, one group after the other, and returns when all are
// gone. What takes longer than Config.Patience in all is killed, which is an
// error.
func (s *Supervisor) Stop() error {
	late := time.NewTimer(s.config.Patience)
	defer late.Stop()
	s.mu.Lock()
	groups := s.groups
	s.mu.Unlock()
	var errs []error
	for i := len(groups) - 1; i >= 0; i-- {
		for _, c := range groups[i] {
			c.drain()
		}
		for _, c := range groups[i] {
			select {
			case <-c.gone:
				continue
			case <-late.C:
				late.Reset(0) // for all that follow
			}
			errs = append(errs, fmt.Errorf("%s did not end in time and was killed; see %s", c.process.Name, c.log))
			c.signal(kill)
			<-c.gone
		}
	}
	return errors.Join(errs...)
}

// Names returns the names of all processes.
func (s *Supervisor) Names() []string {
	var names []string
	for _, c := range s.all() {
		names = append(names, c.process.Name)
	}
	return names
}

func (s *Supervisor) all() []*child {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*child
	for _, g := range s.groups {
		all = append(all, g...)
	}
	return all
}

// Kill kills a process as kill -9 does. It reports whether it was running. It is
// started again.
func (s *Supervisor) Kill(name string) bool { return s.signal(name, kill) }

// Pause stops a process in the midst of what it does, as kill -STOP does. It
// reports whether that was done: it is not known to all systems.
func (s *Supervisor) Pause(name string) bool { return s.signal(name, pause) }

// Resume lets a paused process go on.
func (s *Supervisor) Resume(name string) bool { return s.signal(name, resume) }

func (s *Supervisor) signal(name string, do func(*os.Process) error) bool {
	for _, c := range s.all() {
		if c.process.Name == name {
			return c.signal(do)
		}
	}
	return false
}

// A Status tells how a process fares.
type Status struct {
	Name     string
	PID      int // 0 while it is not running
	Restarts int
	Memory   int64  // most that any life of it had resident, in bytes; 0 where that is not known
	Log      string // path of what it writes
}

// Status tells of all processes, in the order in which they were started.
func (s *Supervisor) Status() []Status {
	var all []Status
	for _, c := range s.all() {
		all = append(all, c.status())
	}
	return all
}

func (s *Supervisor) logPath(name string) string { return filepath.Join(s.config.Logs, name+".log") }
