package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// verify verifies an archive with the key of all tests.
func verify(t testing.TB, store archive.Store, o archive.VerifyOptions) archive.Report {
	t.Helper()
	o.PublicKeys = []string{testKey(t).Public()}
	r, err := archive.Verify(t.Context(), store, "shop", o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// healthy checks that an archive has no problems and holds all of a log.
func healthy(t testing.TB, store archive.Store, log leat.Log) archive.Report {
	t.Helper()
	r := verify(t, store, archive.VerifyOptions{Log: log})
	want := uint64(0)
	for _, seq := range head(t, log).Seqs {
		want += seq
	}
	if len(r.Problems) > 0 || r.Events != want || r.Compared != want {
		t.Fatalf("%d of %d events verified, %d compared, problems %v", r.Events, want, r.Compared, r.Problems)
	}
	return r
}

// names reports whether a finding is about an object.
func names(findings []archive.Finding, object string) bool {
	return slices.ContainsFunc(findings, func(f archive.Finding) bool { return f.Object == object })
}

// sampleArchive archives a log of a few splits and many segments.
func sampleArchive(t testing.TB) (leat.Log, *memoryStore) {
	t.Helper()
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for i := range 6 {
		appendSome(t, log, rng, 30)
		if i == 2 || i == 4 {
			splitFirst(t, log)
		}
		flush(t, a, log)
	}
	return log, store
}

func TestVerify(t *testing.T) {
	log, store := sampleArchive(t)
	r := healthy(t, store, log)
	if len(r.Notes) > 0 || r.Shards < 4 || r.Segments < 6 || r.Manifests < r.Segments+r.Shards {
		t.Errorf("report %+v", r)
	}
	var done []uint64
	r = verify(t, store, archive.VerifyOptions{Progress: func(now, total uint64) { done = append(done, now, total) }})
	if len(done) == 0 || done[len(done)-2] != uint64(r.Bytes) || done[len(done)-1] != uint64(r.Bytes) || r.Compared != 0 {
		t.Errorf("progress %v, report %+v", done, r)
	}
	if _, err := archive.Verify(t.Context(), store, "bank", archive.VerifyOptions{}); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("an archive that is not there: %v, want ErrNotFound", err)
	}
	other := newLog(t, leat.Config{ID: "bank"}, nil)
	if _, err := archive.Verify(t.Context(), store, "shop", archive.VerifyOptions{Log: other}); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("another log: %v, want ErrInvalid", err)
	}
}

// Whatever happens to one object, verify names it, whether or not somebody else
// could still read the archive.
func TestVerifyNamesTheObject(t *testing.T) {
	rng := seeded(t)
	log, store := sampleArchive(t)
	if _, err := openArchive(t, store, log).Config(t.Context()); err != nil { // a restore begins
		t.Fatal(err)
	}
	all := objects(t, store, "")
	intact := maps.Clone(store.objects)
	known := knownCheckpoints(t, store)
	damaged := func(what string, named ...string) {
		t.Helper()
		r := verify(t, store, archive.VerifyOptions{Known: known})
		for _, name := range named {
			if !names(r.Problems, name) {
				t.Errorf("%s %s: problems %v, want one that names it", named, what, r.Problems)
			}
		}
		store.objects = maps.Clone(intact)
	}
	for i, name := range all {
		good := intact[name]
		for range 4 {
			at := rng.IntN(len(good))
			bad := bytes.Clone(good)
			bad[at] ^= byte(1 + rng.IntN(255))
			store.set(name, bad)
			damaged(fmt.Sprintf("with byte %d changed", at), name)
		}
		if !strings.Contains(name, "/epochs/") { // an epoch that nobody took is free
			store.set(name, nil)
			damaged("removed", name)
		}
		store.set(name, []byte{})
		damaged("empty", name)
		store.set(name, good[:len(good)/2])
		damaged("cut short", name)
		if next := all[(i+1)%len(all)]; next != name {
			store.set(name, intact[next])
			store.set(next, good)
			damaged("swapped", name, next)
		}
	}
	if r := verify(t, store, archive.VerifyOptions{Known: known}); len(r.Problems) > 0 {
		t.Fatalf("put back: %v", r.Problems)
	}
}

// knownCheckpoints returns the last checkpoint of each shard, as an auditor keeps
// them.
func knownCheckpoints(t testing.TB, store archive.Store) []byte {
	t.Helper()
	a, err := archive.Open(t.Context(), store, "shop", testKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	ends, err := a.Ends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var known []byte
	for _, e := range ends {
		known = append(append(known, e.Checkpoint.Note...), '\n')
	}
	return known
}

// Several things are wrong at once, and all are named.
func TestVerifyGoesOn(t *testing.T) {
	rng := seeded(t)
	_, store := sampleArchive(t)
	all := objects(t, store, "")
	var broken []string
	for _, i := range rng.Perm(len(all))[:len(all)/3] {
		name := all[i]
		if lastManifest(name, all) {
			continue
		}
		broken = append(broken, name)
		if rng.IntN(2) == 0 && !strings.HasSuffix(name, "log.json") {
			store.set(name, nil)
		} else {
			store.set(name, append(bytes.Clone(store.objects[name]), ' '))
		}
	}
	r := verify(t, store, archive.VerifyOptions{})
	for _, name := range broken {
		// A segment whose manifest is gone as well is read by nobody.
		if !names(r.Problems, name) && !names(r.Notes, name) && !strings.Contains(name, "/segments/") {
			t.Errorf("%s is not named in %v", name, r.Problems)
		}
	}
}

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
	if r := verify(t, store, archive.VerifyOptions{}); len(r.Problems) != 1 || r.Problems[0].Object != name {
		t.Errorf("problems %v, want one that names %s", r.Problems, name)
	}
	if _, _, err := openArchive(t, store, log).Prove(t.Context(), first, 1, 0); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("a proof in it: %v, want ErrCorrupt", err)
	}
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

// A chain that was made anew after it was cut off holds the same tree, or tells
// that it does not.
func TestVerifyKnownCheckpoints(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 4 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	known := knownCheckpoints(t, store)
	same := newMemoryStore()
	flush(t, newArchiver(t, log, same), log)
	appendOne(t, log, "order-1")
	flush(t, newArchiver(t, log, same), log)
	appendOne(t, log, "order-1")
	flush(t, newArchiver(t, log, same), log)
	appendOne(t, log, "order-1")
	flush(t, newArchiver(t, log, same), log)
	appendOne(t, log, "order-1")
	flush(t, newArchiver(t, log, same), log)
	if r := verify(t, same, archive.VerifyOptions{Known: known}); len(r.Problems) > 0 || len(r.Notes) != 1 {
		t.Errorf("made anew with the same events: problems %v, notes %v, want one note", r.Problems, r.Notes)
	}
	otherLog, other := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a = newArchiver(t, otherLog, other)
	for range 6 {
		appendOne(t, otherLog, "order-1")
		flush(t, a, otherLog)
	}
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", first, 5)
	if r := verify(t, other, archive.VerifyOptions{Known: known}); !names(r.Problems, name) {
		t.Errorf("made anew with other events: %v, want a problem that names %s", r.Problems, name)
	}
	if _, err := archive.Verify(t.Context(), store, "shop", archive.VerifyOptions{Known: known[1:]}); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("a known checkpoint that nobody signed: %v, want ErrCorrupt", err)
	}
}

// An archiver that was killed leaves a segment. That is no damage.
func TestVerifyLeftovers(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	name := fmt.Sprintf("shop/segments/%s/%020d-%020d.parquet", first, 4, 4)
	store.set(name, []byte("cut short"))
	if r := verify(t, store, archive.VerifyOptions{}); len(r.Problems) > 0 || !names(r.Notes, name) {
		t.Errorf("problems %v, notes %v, want a note about %s", r.Problems, r.Notes, name)
	}
}

// An archiver may be at work meanwhile.
func TestVerifyWhileItGrows(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	grow := func() {
		for range 3 {
			appendSome(t, log, seeded(t), 20)
			flush(t, a, log)
		}
	}
	grow()
	for _, folder := range []string{"shop/manifests/", "shop/segments/", fmt.Sprintf("shop/segments/%s/", first)} {
		r := verify(t, &growingStore{store, folder, grow}, archive.VerifyOptions{})
		if len(r.Problems) > 0 {
			t.Errorf("it grows before %s is listed: problems %v", folder, r.Problems)
		}
	}
	r := verify(t, &growingStore{store, "shop/segments/", func() { splitFirst(t, log); grow() }}, archive.VerifyOptions{})
	if len(r.Problems) > 0 {
		t.Errorf("the shard is split before its segments are listed: problems %v", r.Problems)
	}
}

// A growingStore is added to before a folder is listed for the first time.
type growingStore struct {
	*memoryStore
	folder string
	grow   func()
}

func (s *growingStore) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	if folder == s.folder && s.grow != nil {
		s.grow()
		s.grow = nil
	}
	return s.memoryStore.List(ctx, folder, after)
}

func TestVerifySince(t *testing.T) {
	now := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	log, store := newLog(t, leat.Config{ID: "shop"}, func() time.Time { return now }), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 10 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
		now = now.AddDate(0, 0, 1)
	}
	old := fmt.Sprintf("shop/segments/%s/%020d-%020d.parquet", first, 3, 3)
	store.set(old, []byte("damaged"))
	r := verify(t, store, archive.VerifyOptions{Since: now.AddDate(0, 0, -4)})
	if len(r.Problems) > 0 || r.Segments != 4 || r.Skipped != 6 {
		t.Errorf("%d segments, %d skipped, problems %v", r.Segments, r.Skipped, r.Problems)
	}
	if r := verify(t, store, archive.VerifyOptions{}); len(r.Problems) != 1 || r.Problems[0].Object != old {
		t.Errorf("problems %v, want one that names %s", r.Problems, old)
	}
}

// The log is compared event by event, as far as it is kept.
func TestVerifyAgainstTheLog(t *testing.T) {
	archived, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, archived, store)
	for range 3 {
		appendOne(t, archived, "order-1")
		flush(t, a, archived)
	}
	events := readLog(t, archived, first)
	logOf := func(events []leat.Recorded) leat.Log {
		log := newLog(t, leat.Config{ID: "shop"}, nil)
		if err := log.Import(t.Context(), first, events); err != nil {
			t.Fatal(err)
		}
		return log
	}
	if r := verify(t, store, archive.VerifyOptions{Log: logOf(events)}); len(r.Problems) > 0 || r.Compared != 3 {
		t.Errorf("the same: %d compared, problems %v", r.Compared, r.Problems)
	}
	changed := slices.Clone(events)
	changed[1].Data = []byte("forged")
	object := fmt.Sprintf("shop/segments/%s/%020d-%020d.parquet", first, 2, 2)
	if r := verify(t, store, archive.VerifyOptions{Log: logOf(changed)}); !names(r.Problems, object) {
		t.Errorf("one event changed: %v, want a problem that names %s", r.Problems, object)
	}
	if r := verify(t, store, archive.VerifyOptions{Log: logOf(events[:2])}); len(r.Problems) != 1 || !strings.Contains(r.Problems[0].String(), "of the log itself") {
		t.Errorf("the log is set back: %v, want a problem that names it", r.Problems)
	}
	trimmed := logOf(events)
	if _, err := trimmed.(leat.Trimmer).Trim(t.Context(), first, 3); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, store, archive.VerifyOptions{Log: trimmed}); len(r.Problems) > 0 || r.Compared != 1 {
		t.Errorf("trimmed: %d compared, problems %v", r.Compared, r.Problems)
	}
}

// A faulty log, or whoever has the key, wrote streams that no log would.
func TestVerifyStreams(t *testing.T) {
	at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		versions []uint64 // of stream order-1
		ids      []string
		want     string
	}{
		"as they should be":    {[]uint64{1, 2, 3, 4}, []string{"a", "b", "c", "d"}, ""},
		"a hole":               {[]uint64{1, 2, 4, 5}, []string{"a", "b", "c", "d"}, "version 3 is missing"},
		"a late beginning":     {[]uint64{2, 3, 4, 5}, []string{"a", "b", "c", "d"}, "version 1 is missing"},
		"a version twice":      {[]uint64{1, 2, 2, 3}, []string{"a", "b", "c", "d"}, "version 2, which another"},
		"versions out of turn": {[]uint64{1, 3, 2, 4}, []string{"a", "b", "c", "d"}, "the version before it comes later"},
		"an ID twice":          {[]uint64{1, 2, 3, 4}, []string{"a", "b", "c", "b"}, "ID that the stream has already, at sequence 2"},
	} {
		events := make([]leat.Recorded, len(c.versions))
		for i := range events {
			seq := uint64(i + 1)
			events[i] = leat.Recorded{
				Event: leat.Event{ID: c.ids[i], Stream: "order-1", Type: "t", Source: "s", Time: at, ContentType: "text/plain"},
				Shard: first, Seq: seq, Commit: seq, Version: c.versions[i], At: at.Add(time.Duration(i)),
			}
		}
		log := fakeLog{newLog(t, leat.Config{ID: "shop"}, nil), events}
		store := newMemoryStore()
		a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Flush(t.Context(), leat.Checkpoint{Log: "shop", Epoch: 1, Seqs: map[leat.ShardID]uint64{first: 4}}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store, archive.VerifyOptions{})
		if c.want == "" && len(r.Problems) > 0 || c.want != "" && (len(r.Problems) == 0 || !strings.Contains(fmt.Sprint(r.Problems), c.want)) {
			t.Errorf("%s: problems %v, want %q", what, r.Problems, c.want)
		}
	}
}

// A stream that is longer than what is looked at together, among more events than
// stay in memory.
func TestVerifyLongStream(t *testing.T) {
	const many, boundary = 300_000, 1 << 18
	at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		change func(events []leat.Recorded)
		want   string
	}{
		"as it should be": {func([]leat.Recorded) {}, ""},
		"a hole at the boundary": {func(events []leat.Recorded) {
			for i := boundary - 1; i < many; i++ {
				events[i].Version++
			}
		}, "versions? .*missing"},
		"an ID twice, far apart": {func(events []leat.Recorded) { events[many-1].ID = events[0].ID }, "at sequence 1 "},
		"out of turn at the boundary": {func(events []leat.Recorded) {
			events[boundary-1].Version, events[boundary].Version = events[boundary].Version, events[boundary-1].Version
		}, "comes later"},
	} {
		events := make([]leat.Recorded, many)
		for i := range events {
			seq := uint64(i + 1)
			events[i] = leat.Recorded{
				Event: leat.Event{ID: fmt.Sprint(i), Stream: "order-1", Type: "t", Source: "s", Time: at, ContentType: "text/plain"},
				Shard: first, Seq: seq, Commit: seq, Version: seq, At: at.Add(time.Duration(i)),
			}
		}
		c.change(events)
		store := newMemoryStore()
		a := newDefaultArchiver(t, fakeLog{newLog(t, leat.Config{ID: "shop"}, nil), events}, store)
		if err := a.Flush(t.Context(), leat.Checkpoint{Log: "shop", Epoch: 1, Seqs: map[leat.ShardID]uint64{first: many}}); err != nil {
			t.Fatal(err)
		}
		r := verify(t, store, archive.VerifyOptions{})
		matched, err := regexp.MatchString(c.want, fmt.Sprint(r.Problems))
		if err != nil || c.want == "" && len(r.Problems) > 0 || c.want != "" && (len(r.Problems) == 0 || len(r.Problems) > 2 || !matched) {
			t.Errorf("%s: %v: problems %v, want one with %q", what, err, r.Problems, c.want)
		}
	}
}

// A fakeLog has the events that it is told to have.
type fakeLog struct {
	leat.Log
	events []leat.Recorded
}

func (l fakeLog) Shards(ctx context.Context) ([]leat.Shard, error) {
	shards, err := l.Log.Shards(ctx)
	shards[0].Head = uint64(len(l.events))
	return shards, err
}

func (l fakeLog) ReadShard(_ context.Context, shard leat.ShardID, after uint64, _ leat.ReadOptions) (leat.Batch, error) {
	head := uint64(len(l.events))
	return leat.Batch{Shard: shard, Epoch: 1, Events: slices.Clone(l.events[after:]), Next: head, Head: head}, nil
}
