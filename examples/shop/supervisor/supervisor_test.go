package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asChild makes the test binary be a process that is kept going: what it says
// is how it behaves.
const asChild = "LEAT_TEST_AS_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		goleak.VerifyTestMain(m)
	case "good":
		mark()
		_, _ = io.Copy(io.Discard, os.Stdin)
		fmt.Println("drained")
	case "stubborn":
		mark()
		<-time.After(time.Hour)
	case "caller":
		mark()
		c, err := net.Dial("tcp", os.Args[2])
		if err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = c.Close()
	case "parent":
		parent()
	case "hopeless":
		fmt.Println("no such address")
		os.Exit(1)
	}
}

// mark notes in the file that is the first argument that the process lives.
func mark() {
	if err := os.WriteFile(os.Args[1], []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		panic(err)
	}
}

// parent supervises one process, a caller, until it is killed.
func parent() {
	s, err := New(Config{Program: os.Args[0], Logs: os.Args[1], Patience: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	p := process(os.Args[1], "a", "caller")
	p.Args = append(p.Args, os.Args[2])
	if err := s.Start(context.Background(), p); err != nil {
		panic(err)
	}
	<-time.After(time.Hour)
}

// TestLeavesNoOrphans kills a supervisor and waits until its process has hung up.
func TestLeavesNoOrphans(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	supervisor := exec.Command(os.Args[0], t.TempDir(), l.Addr().String())
	supervisor.Env = append(os.Environ(), asChild+"=parent")
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	called, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	if err := supervisor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = supervisor.Wait() // killed
	if err := called.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := called.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || n > 0 {
		t.Errorf("a minute after its supervisor was killed the process still runs (%v)", err)
	}
}

// house is a supervisor and the directory in which its processes leave marks.
func house(t *testing.T, patience time.Duration) (*Supervisor, string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := New(Config{Program: program, Logs: dir, Patience: patience, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func process(dir, name, kind string) Process {
	file := filepath.Join(dir, name+".pid")
	return Process{
		Name: name, Args: []string{file}, Env: []string{asChild + "=" + kind},
		Ready: func(context.Context) bool { return pid(file) != 0 },
	}
}

// pid returns the number that a process left, 0 if there is none.
func pid(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(data)) // 0 while it is being written
	return n
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestStartsAgainWhatDied(t *testing.T) {
	s, dir := house(t, time.Minute)
	if err := s.Start(t.Context(), process(dir, "a", "good"), process(dir, "b", "good")); err != nil {
		t.Fatal(err)
	}
	was := s.Status()
	if !s.Kill("a") {
		t.Error("a was not running")
	}
	until(t, "a runs again", func() bool {
		now := s.Status()
		return now[0].Restarts == 1 && now[0].PID != 0 && now[0].PID == pid(filepath.Join(dir, "a.pid"))
	})
	if now := s.Status(); now[0].PID == was[0].PID || now[1].PID != was[1].PID || now[1].Restarts != 0 {
		t.Errorf("it is %+v after %+v, want another life of a alone", now, was)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, p := range s.Status() {
		log, err := os.ReadFile(p.Log)
		if err != nil || p.PID != 0 || strings.Count(string(log), "drained") != 1 {
			t.Errorf("%s has PID %d and wrote %q, %v; want that it drained and is gone", p.Name, p.PID, log, err)
		}
	}
}

func TestDrainsWhatIsPaused(t *testing.T) {
	s, dir := house(t, time.Minute)
	if err := s.Start(t.Context(), process(dir, "a", "good")); err != nil {
		t.Fatal(err)
	}
	if !s.Pause("a") {
		t.Log("processes cannot be paused here")
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestKillsWhatDoesNotDrain(t *testing.T) {
	s, dir := house(t, 50*time.Millisecond)
	if err := s.Start(t.Context(), process(dir, "a", "stubborn"), process(dir, "b", "stubborn")); err != nil {
		t.Fatal(err)
	}
	err := s.Stop()
	if err == nil || !strings.Contains(err.Error(), "a did not end") || !strings.Contains(err.Error(), "b did not end") {
		t.Errorf("stop says %v, want that a and b were killed", err)
	}
	for _, p := range s.Status() {
		if p.PID != 0 {
			t.Errorf("%s still runs", p.Name)
		}
	}
}

func TestGivesUpOnTheHopeless(t *testing.T) {
	s, dir := house(t, time.Minute)
	p := process(dir, "a", "hopeless")
	err := s.Start(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "no such address") {
		t.Errorf("start says %v, want the end of what the process wrote", err)
	}
	if err := s.Wait(t.Context()); err == nil {
		t.Error("wait says nothing, want that the process cannot be kept going")
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
