package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = time.Minute      // within which a server must answer
	stopTime  = 30 * time.Second // after which one that was asked to end is killed
)

// A process is a server that this program started. What it prints goes to a
// file, the end of which is quoted when it fails.
type process struct {
	cmd    *exec.Cmd
	signal os.Signal // that asks it to end
	output string
	exited chan struct{} // closed when it has
}

// untilStopped returns a context for the command of a process, which ends by
// stop alone: killed the moment ctx ends, it could not put its data in order.
func untilStopped(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// startProcess starts a server in a process group of its own, so that Ctrl-C
// reaches this program alone, which then ends it.
func startProcess(dir string, signal os.Signal, cmd *exec.Cmd) (*process, error) {
	output, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr = output, output
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, signal: signal, output: output.Name(), exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // cmd.ProcessState tells the same
		close(p.exited)
	}()
	return p, nil
}

// await returns when probe succeeds, or an error when it has not within a
// minute or the process ended.
func (p *process) await(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it answered: %v\n%s", p.cmd.Path, p.cmd.ProcessState, p.printed())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", p.cmd.Path, errors.Join(ctx.Err(), err), p.printed())
		case <-tick.C:
		}
	}
}

// stop asks the process to end, kills it when it does not, and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(p.signal) // if it ended already, that is what it should do
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTime):
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return fmt.Errorf("%s did not end within %v of being asked and was killed\n%s", p.cmd.Path, stopTime, p.printed())
}

// printed returns the end of what the process printed.
func (p *process) printed() string {
	const lines = 10
	b, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimSpace(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// serveCommand is the first argument of this program when it starts itself as a
// server: "serve nats DIR FILE". The server writes its address to the file when
// it is ready.
const serveCommand = "serve"

// startSelf starts this program as a server and returns its address.
func startSelf(ctx context.Context, name, dir string) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	address := filepath.Join(dir, "address")
	cmd := exec.CommandContext(untilStopped(ctx), self, serveCommand, name, dir, address)
	p, err := startProcess(dir, syscall.SIGTERM, cmd)
	if err != nil {
		return nil, "", err
	}
	var told []byte
	err = p.await(ctx, func(context.Context) (err error) {
		told, err = os.ReadFile(address)
		return err
	})
	if err != nil {
		return nil, "", errors.Join(err, p.stop())
	}
	return p, string(told), nil
}

// serve is what a program started by startSelf does until ctx ends.
func serve(ctx context.Context, args []string) error {
	servers := map[string]func(ctx context.Context, dir string, ready func(address string) error) error{
		"nats": serveNATS, "leat": serveLeat,
	}
	if len(args) != 3 || servers[args[0]] == nil {
		return fmt.Errorf("%s: want nats or leat, a directory and a file for the address, got %q", serveCommand, args)
	}
	return servers[args[0]](ctx, args[1], func(address string) error {
		// Renamed, so that whoever waits for the file finds the whole address.
		if err := os.WriteFile(args[2]+".new", []byte(address), 0o600); err != nil {
			return err
		}
		return os.Rename(args[2]+".new", args[2])
	})
}

// closers end what was opened, the last first.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c *closers) close() error {
	var errs []error
	for _, f := range slices.Backward(*c) {
		errs = append(errs, f())
	}
	*c = nil
	return errors.Join(errs...)
}
