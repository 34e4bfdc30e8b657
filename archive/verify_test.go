package archive_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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

// How long the tests that damage one object after the other go on:
//
//	go test ./archive -run 'TestVerifyNames|TestVerifyCompacted' -timeout 0 -args -flips 1000
var flips = flag.Int("flips", 2, "how many bytes of each object are changed, one at a time")

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
		for range *flips {
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
