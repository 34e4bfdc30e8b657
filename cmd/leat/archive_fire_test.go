package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/internal/versitygw"
)

// What TestArchiveUnderFire does, and how long:
//
//	go test ./cmd/leat -run TestArchiveUnderFire -v -timeout 0 -args -kills 500
//	go test ./cmd/leat -run TestArchiveUnderFire -v -args -kills 20 -seed 17
var (
	fireKills = flag.Int("kills", 8, "how many processes TestArchiveUnderFire kills")
	fireSeed  = flag.Uint64("seed", 0, "seed of TestArchiveUnderFire and TestFleetOfProcesses; 0 draws one")
)

// A server that archives its log, the storage, and another archiver of the same log
// are killed at random points while clients append, shards are split and what is
// archived is trimmed. Whatever was acknowledged is archived once and in order; the log that is
// made from the archive alone is the same.
func TestArchiveUnderFire(t *testing.T) {
	for name, value := range versitygw.Env() {
		t.Setenv(name, value)
	}
	seed := *fireSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("%d kills, seed %d", *fireKills, seed)
	f := setFire(t, rand.New(rand.NewPCG(seed, 0)))
	clients := f.startClients()
	for i := range *fireKills {
		switch i {
		case *fireKills / 3, *fireKills / 2:
			f.split()
		case *fireKills / 4, *fireKills * 3 / 4:
			f.trim()
		}
		f.kill(clients)
		if (i+1)%50 == 0 {
			t.Logf("%d kills", i+1)
		}
	}
	clients.end()
	f.waitForArchiver()
	t.Logf("killed %v; the archiver gave up by itself and was started again: %d times", f.killed, f.gaveUp)

	ok(t, "", "archive", "run", "--once", "--log", f.log, "--key", f.key)
	f.archiver.term(t)
	said := ok(t, "", "archive", "verify", "--log", f.log, "--public-key", f.public())
	t.Log(said)
	if !strings.Contains(said, "; 0 problems, ") {
		t.Error("there are problems")
	}
	f.checkArchive(clients)
	f.checkRestored(clients)
}

// A fire is a server with its storage and another archiver.
type fire struct {
	*testing.T
	rng     *rand.Rand
	data    string // the server's
	key     string // file
	log     string // URL
	storage *versitygw.Gateway
	objects string // where the storage keeps the archive

	server   *process
	proxy    *proxy.Proxy // to the server, wherever it listens
	archiver *archiver

	killed map[string]int
	gaveUp int // the archiver, by itself
}

func setFire(t *testing.T, rng *rand.Rand) *fire {
	root := t.TempDir()
	f := &fire{T: t, rng: rng, data: t.TempDir(), key: filepath.Join(t.TempDir(), "key"), storage: versitygw.Start(t, root), killed: make(map[string]int)}
	t.Setenv("LEAT_ARCHIVE", f.storage.URL("leat"))
	f.proxy = proxy.New(t, "tcp", "")
	f.serve()
	f.log = f.server.url + "/shop"
	f.objects = filepath.Join(root, versitygw.Bucket, "leat", "shop")
	ok(t, "", "log", "create", f.log, "--id", "shop", "--shards", "2")
	f.archiver = &archiver{args: []string{"archive", "run", "--log", f.log, "--key", f.key, "--segment-size", "8KiB", "--max-age", "50ms"}}
	if err := f.archiver.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.archiver.kill)
	f.waitForArchiver()
	return f
}

func (f *fire) serve() {
	f.Helper()
	f.server = serveBehind(f.T, f.proxy, f.data, "--archive-key", f.key,
		"--archive-segment-size", "24KiB", "--archive-max-age", "50ms")
}

// kill kills one of the processes at some moment and starts it again.
func (f *fire) kill(c *clients) {
	f.Helper()
	c.allow(1 + f.rng.IntN(80))
	if f.rng.IntN(2) == 0 {
		f.waitForObject()
	} else {
		c.wait(f.rng.IntN(80))
	}
	victim := []string{"server", "storage", "archiver", "server and archiver", "all"}[f.rng.IntN(5)]
	f.killed[victim]++
	if victim == "archiver" || victim == "server and archiver" || victim == "all" {
		f.archiver.kill()
	}
	if victim == "storage" || victim == "all" {
		if err := f.storage.Restart(); err != nil {
			f.Fatal(err)
		}
	}
	if victim == "server" || victim == "server and archiver" || victim == "all" {
		_ = f.server.Process.Kill()
		_ = f.server.Wait()
		f.serve()
	}
	if victim == "archiver" || victim == "server and archiver" || victim == "all" {
		if err := f.archiver.start(); err != nil {
			f.Fatal(err)
		}
	}
	f.revive()
}

// revive starts the archiver again when it has ended by itself, as one does that
// could not reach the server or the storage when it started.
func (f *fire) revive() {
	f.Helper()
	if !f.archiver.hasEnded() {
		return
	}
	said := f.archiver.said.String()
	for _, never := range []string{"corrupt", "diverged", "denied", "panic"} {
		if strings.Contains(said, never) {
			f.Fatalf("the archiver ended: %s", said)
		}
	}
	f.gaveUp++
	if err := f.archiver.start(); err != nil {
		f.Fatal(err)
	}
}

// waitForArchiver returns once the archiver archives.
func (f *fire) waitForArchiver() {
	f.Helper()
	for tick := time.Tick(5 * time.Millisecond); !f.archiver.archives(); <-tick {
		f.revive()
	}
}

// waitForObject returns when something was put into the archive, or will not be
// for a while: an archiver that has made a segment is about to commit it.
func (f *fire) waitForObject() {
	before := f.countObjects()
	deadline := time.After(time.Second)
	for tick := time.Tick(2 * time.Millisecond); ; {
		select {
		case <-tick:
			if f.countObjects() != before {
				return
			}
		case <-deadline:
			return
		}
	}
}

func (f *fire) countObjects() (n int) {
	folders, err := filepath.Glob(filepath.Join(f.objects, "segments", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, folder := range folders {
		if entries, err := os.ReadDir(folder); err == nil {
			n += len(entries)
		}
	}
	return n
}

// split splits an open shard, whatever is killed meanwhile.
func (f *fire) split() {
	f.Helper()
	log := f.dial()
	shards, err := log.Shards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	open := slices.DeleteFunc(shards, func(s leat.Shard) bool { return s.Closed })
	s := open[f.rng.IntN(len(open))]
	if _, err := log.Split(f.Context(), s.ID, s.Middle()); err != nil {
		f.Fatal(err)
	}
}

// trim removes from the log most of what is archived. The server reads it from
// there from then on.
func (f *fire) trim() {
	f.Helper()
	f.waitForArchiver() // there is an archive
	f.Log(ok(f.T, "", "retain", f.log, "--bytes", "4KiB", "--public-key", f.public()))
}

func (f *fire) dial() *client.Log {
	f.Helper()
	log, err := client.Dial(f.Context(), f.log, client.Options{Retry: time.Hour, Wait: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = log.Close() })
	return log
}

func (f *fire) public() string {
	f.Helper()
	key, err := archive.LoadKey(f.key)
	if err != nil {
		f.Fatal(err)
	}
	return key.Public()
}

// checkArchive compares what is archived with what clients were promised.
func (f *fire) checkArchive(c *clients) {
	f.Helper()
	store, err := openStore(f.Context(), os.Getenv("LEAT_ARCHIVE"))
	if err != nil {
		f.Fatal(err)
	}
	a, err := archive.Open(f.Context(), store, "shop", f.public())
	if err != nil {
		f.Fatal(err)
	}
	shards, err := a.Shards(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	found := make(map[string]leat.Recorded)
	versions := make(map[string]uint64)
	for _, s := range shards {
		next := uint64(1)
		for e, err := range a.Events(f.Context(), s.ID, 0) {
			if err != nil {
				f.Fatal(err)
			}
			if e.Seq != next {
				f.Errorf("%s: sequence %d where %d should be", s.ID, e.Seq, next)
			}
			next++
			if strings.HasPrefix(e.Stream, "$") {
				continue
			}
			if _, twice := found[e.ID]; twice {
				f.Errorf("event %s is archived twice", e.ID)
			}
			found[e.ID] = e
			if versions[e.Stream]++; e.Version != versions[e.Stream] {
				f.Errorf("%s: version %d where %d should be", e.Stream, e.Version, versions[e.Stream])
			}
		}
	}
	acknowledged := 0
	for _, done := range c.done {
		for i, want := range done.events {
			acknowledged++
			got, ok := found[want.ID]
			if !ok {
				f.Errorf("event %s was acknowledged and is not archived", want.ID)
				continue
			}
			place := leat.Receipt{Shard: got.Shard, First: got.Seq, Versions: []uint64{got.Version}, At: got.At}
			promised := leat.Receipt{Shard: done.receipt.Shard, First: done.receipt.First + uint64(i), Versions: done.receipt.Versions[i : i+1], At: got.At}
			if !reflect.DeepEqual(place, promised) || got.Stream != want.Stream || !bytes.Equal(got.Data, want.Data) {
				f.Errorf("event %s is archived as %+v, promised was %+v", want.ID, got, promised)
			}
			delete(found, want.ID)
		}
	}
	f.Logf("%d events of %d streams were acknowledged, in %d shards", acknowledged, len(versions), len(shards))
	if len(found) > 0 {
		f.Errorf("%d events are archived that nobody was promised, such as %v", len(found), found)
	}
}

// checkRestored makes the log from its archive and compares it with the first one.
func (f *fire) checkRestored(c *clients) {
	f.Helper()
	want := ok(f.T, "", "read", "--json", "--log", f.log)
	dir := "dir:" + filepath.Join(f.TempDir(), "restored")
	var restored restoredJSON
	if err := json.Unmarshal([]byte(ok(f.T, "", "restore", "--log", dir, "--public-key", f.public(), "--json")), &restored); err != nil {
		f.Fatal(err)
	}
	status := ok(f.T, "", "archive", "status", "--checkpoints", "--public-key", f.public())
	for _, s := range restored.Shards {
		if !strings.Contains(status, fmt.Sprintf("/%s\n%d\n%s\n", s.ID, s.Events, s.Root)) {
			f.Errorf("the restored %s has %d events and the root %s, which nobody has signed:\n%s", s.ID, s.Events, s.Root, status)
		}
	}
	if got := ok(f.T, "", "read", "--json", "--log", dir); got != want {
		f.Errorf("the restored log prints %d bytes, the first one %d, or other ones", len(got), len(want))
	}
	err := logFlag{dir}.with(f.Context(), func(log leat.Log) error {
		for _, done := range c.done {
			r, err := log.Append(f.Context(), done.events)
			if err != nil {
				return err
			}
			first := done.receipt
			first.Duplicate = true
			if !reflect.DeepEqual(r, first) {
				return fmt.Errorf("%s was acknowledged with %+v, and the restored log says %+v", done.events[0].ID, first, r)
			}
		}
		return nil
	})
	if err != nil {
		f.Error(err)
	}
}
