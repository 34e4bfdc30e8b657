package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// What somebody does who knows the format.
func TestVerifyForgeries(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 5 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	intact, known := maps.Clone(store.objects), knownCheckpoints(t, store)
	name := func(n int) string { return fmt.Sprintf("shop/manifests/%s/%020d.json", first, n) }
	segment := func(n int) string { return fmt.Sprintf("shop/segments/%s/%020d-%020d.parquet", first, n, n) }
	const last = 6
	// A chain that goes on, as the owner of the key and as another would sign it.
	appendOne(t, log, "order-1")
	flush(t, a, log)
	next := store.objects[name(last+1)]
	evil := archive.Resign(next, newKey(t))
	unsigned := []byte(strings.Replace(string(next), "— leat ", "— nobody ", 1))
	borrowed := []byte(strings.Replace(string(next), checkpointOf(t, next), checkpointOf(t, intact[name(last)]), 1))

	for _, c := range []struct {
		what   string
		change func()
		known  bool
		named  []string
	}{
		{"an old manifest under a later number", func() { store.set(name(last+1), intact[name(3)]) }, false, []string{name(last + 1)}},
		{"an old manifest in a later one's place", func() { store.set(name(5), intact[name(3)]) }, false, []string{name(5)}},
		{"an old segment in a later one's place", func() { store.set(segment(4), intact[segment(2)]) }, false, []string{segment(4)}},
		{"a manifest far behind the end", func() { store.set(name(1<<40), intact[name(3)]) }, false, []string{name(1 << 40), name(last + 1)}},
		{"a manifest signed with another key", func() { store.set(name(last+1), evil) }, false, []string{name(last + 1)}},
		{"a manifest that is not signed", func() { store.set(name(last+1), unsigned) }, false, []string{name(last + 1)}},
		{"a manifest with the signature of another", func() { store.set(name(last+1), borrowed) }, false, []string{name(last + 1)}},
		{"a chain cut off", func() { store.set(name(last), nil); store.set(segment(5), nil) }, true, []string{name(last)}},
		{"a chain cut off, its segments left", func() { store.set(name(last), nil); store.set(name(last-1), nil) }, false, []string{name(last - 1)}},
		{"all manifests removed", func() {
			for n := range last {
				store.set(name(n+1), nil)
			}
		}, false, []string{name(1)}},
	} {
		store.objects = maps.Clone(intact)
		c.change()
		o := archive.VerifyOptions{}
		if c.known {
			if r := verify(t, store, o); len(r.Problems) > 0 {
				t.Errorf("%s: problems %v, and nothing can tell", c.what, r.Problems)
			}
			o.Known = known
		}
		r := verify(t, store, o)
		for _, object := range c.named {
			if !names(r.Problems, object) {
				t.Errorf("%s: problems %v, want one that names %s", c.what, r.Problems, object)
			}
		}
	}
}

// What the shards tell about each other.
func TestVerifyLineage(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	appendSome(t, log, seeded(t), 20)
	splitFirst(t, log) // 0 into 1 and 2
	appendSome(t, log, seeded(t), 60)
	flush(t, a, log)
	intact := maps.Clone(store.objects)
	name := func(shard, n int) string {
		return fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(shard), n)
	}
	closing := len(manifests(t, store, "shop", first))
	remove := func(shard int) {
		for _, kind := range []string{"manifests", "segments"} {
			for _, object := range objects(t, store, fmt.Sprintf("shop/%s/%s/", kind, leat.ShardNumber(shard))) {
				store.set(object, nil)
			}
		}
	}
	resign := func(object, old, changed string) {
		text := string(store.objects[object])
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in %s", old, text)
		}
		store.set(object, archive.Resign([]byte(strings.Replace(text, old, changed, 1)), testKey(t)))
	}
	for what, c := range map[string]struct {
		change func()
		named  string
	}{
		"a parent is not closed":         {func() { store.set(name(0, closing), nil) }, name(0, closing)},
		"a parent is gone":               {func() { remove(0) }, name(0, 1)},
		"a child is gone":                {func() { remove(2) }, "shop/manifests/"},
		"a child without its manifests":  {func() { store.set(name(2, 1), nil); store.set(name(2, 2), nil) }, name(2, 1)},
		"two shards own a key":           {func() { resign(name(2, 1), `"from": "8`, `"from": "7`) }, name(2, 1)},
		"nobody owns a key":              {func() { resign(name(2, 1), `"from": "8`, `"from": "9`) }, "shop/manifests/"},
		"nobody owns the last keys":      {func() { resign(name(2, 1), `"to": "f`, `"to": "e`) }, "shop/manifests/"},
		"a parent that was never there":  {func() { resign(name(2, 1), `"shardId-000000000000"`, `"shardId-000000000007"`) }, name(7, 1)},
		"a shard that is moved later on": {func() { resign(name(2, 1), `"from": "8`, `"from": "9`) }, name(2, 2)},
	} {
		store.objects = maps.Clone(intact)
		c.change()
		if r := verify(t, store, archive.VerifyOptions{}); !names(r.Problems, c.named) {
			t.Errorf("%s: problems %v, want one that names %s", what, r.Problems, c.named)
		}
	}
}

// Who has the key can sign a tree that the events do not make.
func TestVerifyTree(t *testing.T) {
	log, store, name := forgedTree(t)
	if r := verify(t, store, archive.VerifyOptions{}); len(r.Problems) != 1 || r.Problems[0].Object != name {
		t.Errorf("problems %v, want one that names %s", r.Problems, name)
	}
	if _, _, err := openArchive(t, store, log).Prove(t.Context(), first, 1, 0); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("a proof in it: %v, want ErrCorrupt", err)
	}
}

// forgedTree returns a log and the store of its archive, in which a manifest has a
// tree that the events do not make, and the manifest's name.
func forgedTree(t *testing.T) (*leattest.Log, *memoryStore, string) {
	t.Helper()
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 2 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", first, 3)
	good := checkpoints(t, store, "shop", first)[2].Root.String()
	forged := strings.ReplaceAll(string(store.objects[name]), good, tlog.RecordHash(nil).String())
	store.set(name, archive.Resign([]byte(forged), testKey(t)))
	return log, store, name
}

// A Bloom filter that leaves a stream out hides its events from who looks for it.
func TestVerifyFilter(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	appendOne(t, log, "order-1")
	flush(t, a, log)
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", first, 2)
	var m struct {
		Segment struct {
			Object, SHA256 string
			Filter         struct {
				Offset, Size int
				SHA256       string
			}
		}
	}
	if err := json.Unmarshal(store.objects[name], &m); err != nil {
		t.Fatal(err)
	}
	object, f := "shop/"+m.Segment.Object, m.Segment.Filter
	forged := bytes.Clone(store.objects[object])
	clear(forged[f.Offset+f.Size-32 : f.Offset+f.Size]) // its one block of bits
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	store.set(object, forged)
	store.set(name, archive.Resign([]byte(strings.NewReplacer(m.Segment.SHA256, sum(forged),
		f.SHA256, sum(forged[f.Offset:f.Offset+f.Size])).Replace(string(store.objects[name]))), testKey(t)))
	if r := verify(t, store, archive.VerifyOptions{}); len(r.Problems) != 1 || r.Problems[0].Object != object || !strings.Contains(r.Problems[0].What, "order-1") {
		t.Errorf("problems %v, want one that names %s and the stream", r.Problems, object)
	}
}

func checkpointOf(t testing.TB, manifest []byte) string {
	t.Helper()
	_, text, ok := strings.Cut(string(manifest), `"checkpoint": "`)
	if !ok {
		t.Fatalf("no checkpoint in %s", manifest)
	}
	return text
}
