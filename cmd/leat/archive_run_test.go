package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchiveRun archives a log, goes on after more came, and refuses a key that
// the archive does not know.
func TestArchiveRun(t *testing.T) {
	dir := t.TempDir()
	log, to, key := "dir:"+filepath.Join(dir, "log"), "file://"+filepath.Join(dir, "archive"), filepath.Join(dir, "key")
	ok(t, "", "log", "create", log)
	for _, want := range []string{"2 events", "3 events"} {
		ok(t, "", "append", "--log", log, "order-1", "OrderPlaced", `{"total":1}`)
		if want == "2 events" {
			ok(t, "", "append", "--log", log, "order-2", "OrderPlaced", `{"total":2}`)
		}
		if got := ok(t, "", "archive", "run", "--once", "--log", log, "--archive", to, "--key", key); !strings.Contains(got, want) {
			t.Errorf("archive run --once: got %q, want %q in it", got, want)
		}
	}
	if got := ok(t, "", "archive", "verify", "--archive", to, "--log", log); !strings.Contains(got, "3") {
		t.Errorf("archive verify: got %q", got)
	}
	other := filepath.Join(dir, "other")
	fails(t, "is signed with", "archive", "run", "--once", "--log", log, "--archive", to, "--key", other)

	// Where the archive is not, no other is begun.
	elsewhere := "file://" + filepath.Join(dir, "elsewhere")
	fails(t, "is the disk mounted", "archive", "run", "--once", "--log", log, "--archive", elsewhere, "--key", key)
	memory, err := filepath.Glob(filepath.Join(dir, "log", "archives", "*.json"))
	if err != nil || len(memory) != 1 {
		t.Fatalf("beside the log are %q, %v; want one file", memory, err)
	}
	if err := os.Remove(memory[0]); err != nil {
		t.Fatal(err)
	}
	ok(t, "", "archive", "run", "--once", "--log", log, "--archive", elsewhere, "--key", key)
}
