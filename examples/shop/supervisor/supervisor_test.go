package supervisor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
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
