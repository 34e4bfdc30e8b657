package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// childDir names, for a test binary run as a child, the directory of the log it
// appends to until it is killed.
const childDir = "LEAT_ENGINE_CHILD_DIR"

// child appends from several goroutines and prints a line for each Append that
// is given and for each that is acknowledged.
func child(dir string) error {
	log, err := engine.Open(dir, engine.Options{})
	if errors.Is(err, leat.ErrNotFound) {
		log, err = engine.Create(dir, leat.Config{}, engine.Options{})
	}
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				events := childEvents(fmt.Sprintf("%d-%d-%d", os.Getpid(), p, n))
				r, err := log.Append(context.Background(), events)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println("acked", events[0].Type, r.First, r.Last)
			}
		})
	}
	wg.Wait()
	return nil
}

func childEvents(name string) []leat.Event {
	events := make([]leat.Event, 1+len(name)%3)
	for i := range events {
		events[i] = leat.Event{
			ID: fmt.Sprintf("%s-%d", name, i), Stream: "killed-" + name[len(name)-1:], Type: name, Source: "child", Data: []byte(name),
		}
	}
	return events
}

// TestKill kills a process that appends, again and again: what it had told as
// acknowledged is there. While it lives, nobody else can open the log, and the
// error names it.
func TestKill(t *testing.T) {
	rng := newRand(t)
	dir := filepath.Join(t.TempDir(), "log")
	acked := make(map[string][2]uint64)
	for range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + rng.IntN(1500)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var name string
			var first, last uint64
			if _, err := fmt.Sscanf(lines.Text(), "acked %s %d %d", &name, &first, &last); err != nil {
				t.Errorf("the child says %q", lines.Text())
				break
			}
			acked[name] = [2]uint64{first, last}
			if n == 0 {
				_, err := engine.Open(dir, engine.Options{})
				if pid := fmt.Sprintf("PID %d", cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), pid) {
					t.Errorf("open a log that is in use: got %v, want an error with %q", err, pid)
				}
			}
			if n == kill {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		auditKilled(t, dir, acked)
	}
}

func auditKilled(t *testing.T, dir string, acked map[string][2]uint64) {
	t.Helper()
	mustCheck(t, vfs.Default, dir)
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatalf("open after a kill: %v", err)
	}
	defer closeLog(t, log)
	byName := make(map[string][]leat.Recorded)
	for _, events := range readAll(t, log) {
		for _, e := range events {
			byName[e.Type] = append(byName[e.Type], e)
		}
	}
	for name, recorded := range byName {
		if err := isWhole(recorded, childEvents(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, at := range acked {
		if r := byName[name]; len(r) == 0 || r[0].Seq != at[0] || r[len(r)-1].Seq != at[1] {
			t.Errorf("%s was acknowledged at %v, there is %+v", name, at, r)
		}
	}
	t.Logf("%d appends were acknowledged, %d are there", len(acked), len(byName))
}
