package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// readAll reads an archive as far as it can be read.
func readAll(t testing.TB, store archive.Store, log string) error {
	t.Helper()
	a, err := archive.Open(t.Context(), store, log)
	if err != nil {
		return err
	}
	shards, err := a.Shards(t.Context())
	if err != nil {
		return err
	}
	for _, s := range shards {
		for _, err := range a.Events(t.Context(), s.ID, 0) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func TestDamageIsNamed(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendSome(t, log, rng, 10)
		flush(t, a, log)
	}
	splitFirst(t, log)
	flush(t, a, log)
	names := objects(t, store, "")
	if err := readAll(t, store, "shop"); err != nil || len(names) < 9 {
		t.Fatalf("before: %v, %d objects", err, len(names))
	}
	for _, name := range names {
		good := store.objects[name]
		damaged := func(what string, data []byte) {
			t.Helper()
			store.set(name, data)
			defer store.set(name, good)
			err := readAll(t, store, "shop")
			wrong := errors.Is(err, leat.ErrCorrupt) || errors.Is(err, leat.ErrUnsupported)
			if what == "removed" && strings.HasSuffix(name, "/log.json") {
				wrong = errors.Is(err, leat.ErrNotFound)
			}
			if !wrong || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v, want an error that names it", name, what, err)
			}
		}
		if !lastManifest(name, names) { // that a chain was cut off at its end, only a signature can tell
			damaged("removed", nil)
		}
		damaged("empty", []byte{})
		damaged("cut short", good[:len(good)-1])
		damaged("longer", append(slices.Clone(good), '\n'))
		for range 20 {
			at, bit := rng.IntN(len(good)), byte(1)<<rng.IntN(8)
			bad := bytes.Clone(good)
			bad[at] ^= bit
			if strings.Contains(name, "manifests") && lastManifest(name, names) {
				continue // nothing holds its hash yet; its fields are checked below
			}
			damagedOrNext(t, store, name, names, good, bad)
		}
		for _, other := range names {
			if other != name {
				damaged("replaced by "+other, store.objects[other])
			}
		}
	}
}

// damagedOrNext checks that a flipped bit is found: in the object itself, or, if
// that still reads well, by the hash in the manifest after it.
func damagedOrNext(t *testing.T, store *memoryStore, name string, names []string, good, bad []byte) {
	t.Helper()
	store.set(name, bad)
	defer store.set(name, good)
	err := readAll(t, store, "shop")
	if err == nil && strings.HasSuffix(name, "/log.json") {
		t.Errorf("%s with a flipped bit reads well: %s", name, bad)
		return
	}
	next := names[(slices.Index(names, name)+1)%len(names)]
	if err == nil || !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), next) {
		t.Errorf("%s with a flipped bit: %v, want an error that names it", name, err)
	}
}

func lastManifest(name string, names []string) bool {
	folder, _, ok := strings.Cut(name[len("shop/"):], "/")
	if !ok || folder != "manifests" {
		return false
	}
	i := slices.Index(names, name)
	dir := name[:strings.LastIndex(name, "/")]
	return i+1 == len(names) || !strings.HasPrefix(names[i+1], dir)
}

// Somebody who forges a manifest has to forge all of it, and to have the key.
func TestForgedManifest(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	appendOne(t, log, "order-1")
	flush(t, a, log)
	appendOne(t, log, "order-2")
	flush(t, a, log)

	name := fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), 3)
	good := string(store.objects[name])
	for _, change := range []struct{ old, new, want string }{
		{`"format": 1`, `"format": 2`, "format 2"},
		{`"log": "shop"`, `"log": "stop"`, `log "stop"`},
		{`"shard": "shardId-000000000000"`, `"shard": "shardId-000000000001"`, `shardId-000000000001`},
		{`"number": 3`, `"number": 4`, "number 4"},
		{`"previous": "`, `"previous": "0`, "not its own"},
		{`"epoch": 1`, `"epoch": 2`, "not its own"},
		{`"kind": "segment"`, `"kind": "close"`, `kind "close"`},
		{`"kind": "segment"`, `"kind": "open"`, `kind "open"`},
		{`"kind": "segment"`, `"kind": "sigment"`, `"sigment"`},
		{`"first": 2`, `"first": 1`, "1 to 2"},
		{`"last": 2`, `"last": 3`, "2 to 3"},
		{`segments/`, `../segments/`, "../segments/"},
		{`"events": 2,`, `"events": 3,`, "tree of 3 leaves"},
		{`"sha256": "`, `"sha256": "0`, "not its own"},
		{`"size": `, `"size": 1`, "not its own"},
		{`"total": {`, `"more": 1, "total": {`, "more"},
		{`— leat `, `— leaf `, "key that is trusted"},
		{signed, `"previous": "0`, "SHA-256"},
		{signed, `"epoch": 2`, "epoch 2"},
		{signed, `"sha256": "0`, "SHA-256"},
		{signed, `"event_bytes": 1`, "EventBytes:1"},
		{signed, `"offset": 1`, "Bloom filter"},
	} {
		forged := strings.Replace(good, change.old, change.new, 1)
		if change.old == signed {
			field, _, _ := strings.Cut(change.new, ": ")
			at := strings.LastIndex(good, field)
			if field == `"sha256"` {
				at = strings.Index(good, field) // of the segment, not of its filter
			}
			forged = string(archive.Resign([]byte(good[:at]+change.new+good[at+len(change.new)-1:]), testKey(t)))
		}
		if forged == good {
			t.Fatalf("%s is not in %s", change.old, good)
		}
		store.set(name, []byte(forged))
		err := readAll(t, store, "shop")
		if err == nil || !strings.Contains(err.Error(), change.want) ||
			!errors.Is(err, leat.ErrCorrupt) && !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("%s made %s: %v, want an error with %q", change.old, change.new, err, change.want)
		}
	}
}

// signed says that the forger has the key.
const signed = "signed"

// A chain of one manifest has no other that vouches for it.
func TestForgedFirstManifest(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	flush(t, newArchiver(t, log, store), log)
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), 1)
	good := string(store.objects[name])
	for _, change := range []struct{ old, new, want string }{
		{`"parents": []`, `"parents": null`, "parents"},
		{`"epoch": 1`, `"epoch": 0`, "epoch 0"},
	} {
		forged := strings.Replace(good, change.old, change.new, 1)
		if forged == good {
			t.Fatalf("%s is not in %s", change.old, good)
		}
		store.set(name, []byte(forged))
		if err := readAll(t, store, "shop"); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s made %s: %v, want ErrCorrupt with %q", change.old, change.new, err, change.want)
		}
	}
	store.set(name, []byte(good))
	store.set("shop/manifests/byDay/"+strings.Repeat("0", 19)+"1.json", []byte("{}"))
	if err := readAll(t, store, "shop"); err != nil {
		t.Errorf("another folder beside the shards': %v, want it ignored", err)
	}
}

// An archiver does not go on from a chain with a hole.
func TestArchiverMissesAManifest(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), 2)
	store.set(name, nil)
	appendOne(t, log, "order-1")
	err := newArchiver(t, log, store).Flush(t.Context(), head(t, log))
	if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v, want ErrCorrupt that names %s", err, name)
	}
}

// A segment whose forged manifest vouches for it is still checked event by
// event: it reads as the log wrote it, or not at all.
func TestForgedSegment(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	appendSome(t, log, rng, 20)
	flush(t, newArchiver(t, log, store), log)
	want := readLog(t, log, leat.ShardNumber(0))

	all := manifests(t, store, "shop", leat.ShardNumber(0))
	last := all[len(all)-1].Segment
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), len(all))
	good, manifest := store.objects["shop/"+last.Object], string(store.objects[name])
	found, key := 0, testKey(t)
	for range 500 {
		forged := bytes.Clone(good)
		at := rng.IntN(len(good))
		forged[at] ^= byte(1 + rng.IntN(255))
		sum := sha256.Sum256(forged)
		store.set("shop/"+last.Object, forged)
		store.set(name, archive.Resign([]byte(strings.Replace(manifest, last.SHA256, hex.EncodeToString(sum[:]), 1)), key))

		seq := uint64(0)
		for e, err := range openArchive(t, store, log).Events(t.Context(), leat.ShardNumber(0), 0) {
			if err != nil {
				if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), last.Object) {
					t.Fatalf("byte %d: %v, want ErrCorrupt that names %s", at, err, last.Object)
				}
				found++
				break
			}
			if !reflect.DeepEqual(normal(e), normal(want[seq])) {
				t.Fatalf("byte %d: read\n%+v, want\n%+v", at, e, want[seq])
			}
			seq++
		}
	}
	if found == 0 {
		t.Error("no forgery was found")
	}
}
