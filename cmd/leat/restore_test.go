package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat/archive"
)

// archivedLog makes a log of many events and archives it. It returns what leat
// read prints of it.
func archivedLog(t *testing.T, key *archive.Key, events int) string {
	t.Helper()
	newLog(t, "--id", "shop", "--shards", "3")
	var in strings.Builder
	for i := range events {
		fmt.Fprintf(&in, `{"id":"e%d","stream":"order-%d","type":"OrderPlaced","source":"orders","data":{"n":%d}}`+"\n", i, i%97, i)
	}
	ok(t, in.String(), "append", "--jsonl", "-")
	archiveLog(t, t.TempDir(), key)
	return ok(t, "", "read", "--json")
}

func newKey(t *testing.T) *archive.Key {
	t.Helper()
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRestore(t *testing.T) {
	key := newKey(t)
	want := archivedLog(t, key, 2000)
	dir := filepath.Join(t.TempDir(), "data", "logs", "shop")
	out := ok(t, "", "restore", "--log", "dir:"+dir, "--public-key", key.Public())
	if !strings.Contains(out, "restored log shop to "+dir+": 2000 events in ") || !strings.Contains(out, "\nepoch 2, kept up to shop@2,") {
		t.Errorf("restore said\n%s", out)
	}
	if got := ok(t, "", "read", "--json", "--log", "dir:"+dir); got != want {
		t.Error("the restored log prints other events than the first")
	}
	ok(t, "", "doctor", "dir:"+dir)
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("beside the log there is more: %v, %v", entries, err)
	}
	out = ok(t, `{"id":"e7","stream":"order-7","type":"OrderPlaced","source":"orders","data":{"n":7}}`, "append", "--jsonl", "-", "--log", "dir:"+dir)
	if !strings.Contains(out, "before") {
		t.Errorf("append of what was recorded said %q", out)
	}

	fails(t, "holds files", "restore", "--log", "dir:"+dir)
	fails(t, "stop the server", "restore", "--log", "leat://127.0.0.1:1/shop")
	fails(t, "does not count", "restore", "--log", "dir:"+dir+"2", "--public-key", newKey(t).Public())

	var done restoredJSON
	if err := json.Unmarshal([]byte(ok(t, "", "restore", "--log", "dir:"+dir+"3", "--json")), &done); err != nil ||
		done.Epoch != 3 || done.Events != 2000 || done.Imported != 2000 || len(done.Shards) != 3 {
		t.Errorf("restore --json said %+v, %v", done, err)
	}
}

// A damaged segment stops the restore; once it is put back the same command goes
// on.
func TestRestoreOfADamagedArchive(t *testing.T) {
	want := archivedLog(t, newKey(t), 2000)
	folder := strings.TrimPrefix(os.Getenv("LEAT_ARCHIVE"), "file://")
	segments, err := filepath.Glob(filepath.Join(folder, "shop/segments/shardId-000000000002/*"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	good, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := errors.Join(os.Remove(segments[0]), os.WriteFile(segments[0], data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(good[:len(good)-1])
	dir := filepath.Join(t.TempDir(), "log")
	fails(t, "shop/segments/shardId-000000000002/", "restore", "--log", "dir:"+dir)
	fails(t, "the same command goes on with it", "restore", "--log", "dir:"+dir)
	fails(t, "not found", "read", "--log", "dir:"+dir)
	fails(t, "not found", "read", "--log", "dir:"+dir+restoring)
	put(good)
	ok(t, "", "restore", "--log", "dir:"+dir)
	if got := ok(t, "", "read", "--json", "--log", "dir:"+dir); got != want {
		t.Error("the restored log prints other events than the first")
	}
}

// TestRestoreIsKilled kills leat restore at random moments and starts it again
// until it is done.
func TestRestoreIsKilled(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	want := archivedLog(t, newKey(t), 60_000)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range 3 {
		dir := filepath.Join(t.TempDir(), "log")
		kills, patience := 0, time.Duration(0)
		for {
			restore := exec.Command(path, "restore", "--log", "dir:"+dir)
			if err := restore.Start(); err != nil {
				t.Fatal(err)
			}
			patience += 40 * time.Millisecond // so that it ends on a slow machine, too
			kill := time.AfterFunc(time.Duration(rng.Int64N(int64(patience)))+time.Millisecond, func() { _ = restore.Process.Kill() })
			err := restore.Wait()
			kill.Stop()
			if err == nil {
				break
			}
			if restore.ProcessState.Exited() {
				if entries, e := os.ReadDir(dir); e == nil && len(entries) > 0 {
					break // it was killed when all was done
				}
				t.Fatalf("round %d, seed %d, after %d kills: %v", round, seed, kills, err)
			}
			kills++
		}
		ok(t, "", "doctor", "dir:"+dir)
		if got := ok(t, "", "read", "--json", "--log", "dir:"+dir); got != want {
			t.Errorf("round %d, seed %d: after %d kills the log prints other events than the first", round, seed, kills)
		}
		t.Logf("round %d: killed %d times", round, kills)
	}
}
