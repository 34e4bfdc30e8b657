package engine_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/leattest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childTask); task != "" {
		fmt.Fprintln(os.Stderr, child(task))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestLogOnDisk(t *testing.T) {
	t.Parallel() // it mostly waits for the disk
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		return open(t, t.TempDir(), s, engine.Options{})
	})
}

// TestLogInMemory has the index in many generations.
func TestLogInMemory(t *testing.T) {
	t.Parallel()
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		return open(t, "log", s, engine.Options{FS: vfs.NewMem(), GenerationEvents: 2})
	})
}

// open creates a log for the suite.
func open(t testing.TB, dir string, s leattest.Setup, o engine.Options) leattest.Instance {
	t.Helper()
	o.Clock = s.Clock
	l, err := engine.Create(dir, s.Config, o)
	if err != nil {
		t.Fatalf("create a log: %v", err)
	}
	t.Cleanup(func() { closeLog(t, l) })
	return leattest.Instance{Log: l, Reopen: func() leat.Log {
		closeLog(t, l)
		if l, err = engine.Open(dir, o); err != nil {
			t.Fatalf("open the log again: %v", err)
		}
		return l
	}}
}

func closeLog(t testing.TB, l *engine.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("close the log: %v", err)
	}
}
