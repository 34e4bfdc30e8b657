package archive_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

func newKey(t testing.TB) *archive.Key {
	t.Helper()
	k, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// flushWith archives a log with a key.
func flushWith(t testing.TB, log leat.Log, store archive.Store, k *archive.Key, anew bool) error {
	t.Helper()
	a, err := archive.NewArchiver(log, store, archive.Config{Key: k, NewKey: anew})
	if err != nil {
		t.Fatal(err)
	}
	return a.Flush(t.Context(), head(t, log))
}

// readTrusting reads all of an archive, trusting a key.
func readTrusting(t testing.TB, store archive.Store, log string, k *archive.Key) error {
	t.Helper()
	a, err := archive.Open(t.Context(), store, log, k.Public())
	if err != nil {
		return err
	}
	for _, err := range a.Events(t.Context(), first, 0) {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestNewKey(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	one, two, three := newKey(t), newKey(t), newKey(t)
	next := func(k *archive.Key, anew bool) error {
		t.Helper()
		appendOne(t, log, "order-1")
		return flushWith(t, log, store, k, anew)
	}
	if err := next(one, false); err != nil {
		t.Fatal(err)
	}
	if err := next(two, false); !errors.Is(err, leat.ErrDenied) || !strings.Contains(err.Error(), one.Public()) {
		t.Fatalf("another key: %v, want ErrDenied that names the first", err)
	}
	for i, k := range []*archive.Key{two, three} {
		if err := next(k, true); err != nil {
			t.Fatal(err)
		}
		if err := next(k, false); err != nil {
			t.Fatalf("started again with the new key: %v", err)
		}
		if err := readTrusting(t, store, "shop", k); err != nil {
			t.Errorf("read with key %d alone: %v", i+2, err)
		}
		if err := readTrusting(t, store, "shop", one); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("read with the first key alone: %v, want ErrCorrupt", err)
		}
	}
	if err := next(one, false); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("the first key goes on: %v, want ErrCorrupt", err)
	}
	if err := next(three, false); err != nil {
		t.Fatal(err)
	}
	audit(t, store, log) // on the archive's own word
}

// Who can write to the store, and has no key, makes nobody believe anything.
func TestStoreIsNotTrusted(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	good, evil := newKey(t), newKey(t)
	appendOne(t, log, "order-1")
	if err := flushWith(t, log, store, good, false); err != nil {
		t.Fatal(err)
	}

	// What the evil key signs, made with an archive of its own that it took over.
	forgedLog, forged := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	for _, name := range objects(t, store, "") {
		forged.set(name, store.objects[name])
	}
	if err := forgedLog.Import(t.Context(), first, readLog(t, log, first)); err != nil {
		t.Fatal(err)
	}
	appendOne(t, forgedLog, "order-1")
	if err := flushWith(t, forgedLog, forged, evil, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range objects(t, forged, "") {
		store.set(name, forged.objects[name])
	}
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", first, 3)
	if err := readTrusting(t, store, "shop", good); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("a forged manifest and its key: %v, want ErrCorrupt that names %s", err, name)
	}
	appendOne(t, log, "order-1")
	if err := flushWith(t, log, store, good, false); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("the archiver: %v, want ErrCorrupt that names %s", err, name)
	}

	for _, what := range []struct{ old, new string }{
		{`"single": false`, `"single": true`},
		{good.Public(), evil.Public()},
	} {
		store := newMemoryStore()
		if err := flushWith(t, log, store, good, false); err != nil {
			t.Fatal(err)
		}
		description := string(store.objects["shop/log.json"])
		changed := strings.Replace(description, what.old, what.new, 1)
		if changed == description {
			t.Fatalf("%s is not in %s", what.old, description)
		}
		store.set("shop/log.json", []byte(changed))
		if err := readTrusting(t, store, "shop", good); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), "shop/log.json") {
			t.Errorf("%s made %s: %v, want ErrCorrupt that names log.json", what.old, what.new, err)
		}
	}
}

// Nobody can make a restore begin the log's first epoch again.
func TestLastEpoch(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	flush(t, newArchiver(t, log, store), log)
	name := fmt.Sprintf("shop/epochs/%020d.json", uint64(math.MaxUint64))
	store.set(name, []byte("{}"))
	if c, err := openArchive(t, store, log).Config(t.Context()); !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("%+v, %v, want ErrCorrupt that names %s", c, err, name)
	}
}

// A key file whose lines do not belong together would sign what nobody can check.
func TestKeyOfTwoHalves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := archive.LoadKey(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(path, []byte(secret+"\n"+newKey(t).Public()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.LoadKey(path); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}
