package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
)

// TestRestoredFromTheArchive loses the store, makes the log again from its
// archive, and expects that the books agree and nothing is traded twice: the
// applications go on where they were.
func TestRestoredFromTheArchive(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"--once", "--data", data, "--seed", "11", "--count", "300"}
	if file := os.Getenv(realFile); file != "" {
		args = []string{"--once", "--data", data, "--orders", file}
	}
	if status, out, told := shopTest(args...); status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, told, out)
	}
	if err := os.RemoveAll(filepath.Join(data, "store")); err != nil {
		t.Fatal(err)
	}
	store, err := archive.OpenStore("file://" + filepath.ToSlash(filepath.Join(data, "archive")))
	if err != nil {
		t.Fatal(err)
	}
	logs, err := archive.Logs(t.Context(), store)
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	a, err := archive.Open(t.Context(), store, logs[0])
	if err != nil {
		t.Fatal(err)
	}
	config, err := a.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log, err := engine.Create(filepath.Join(data, "store", "logs", logName), config, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := a.Restore(t.Context(), log, nil)
	if err != nil || done.Events == 0 || done.Imported != done.Events {
		t.Errorf("restored %+v, %v", done, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	status, out, told := shopTest(args...)
	if status != 0 || !strings.Contains(out, "The books agree") || !strings.Contains(out, " 0 are new") {
		t.Errorf("on the restored log: exit status %d, want 0 and no new events\n%s%s", status, told, out)
	}
}
