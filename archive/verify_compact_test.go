package archive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// compactedArchive archives and compacts a log of some days and two months.
func compactedArchive(t testing.TB) (leat.Log, *memoryStore) {
	t.Helper()
	rng, now := seeded(t), time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	log, store := newLog(t, leat.Config{ID: "shop"}, func() time.Time { return now }), newMemoryStore()
	a := newArchiver(t, log, store)
	for i := range 12 {
		appendSome(t, log, rng, 30)
		now = now.Add(20 * time.Hour)
		if i == 4 {
			splitFirst(t, log)
		}
		if i%2 == 0 { // days begin and end inside of segments
			flush(t, a, log)
		}
	}
	flush(t, a, log)
	if _, err := openArchive(t, store, log).Compact(t.Context(), archive.CompactOptions{Key: testKey(t)}); err != nil {
		t.Fatal(err)
	}
	return log, store
}

func TestVerifyCompacted(t *testing.T) {
	rng := seeded(t)
	log, store := compactedArchive(t)
	if r := healthy(t, store, log); r.Compacted < 5 || len(r.Notes) > 0 {
		t.Errorf("%d files compared, notes %v", r.Compacted, r.Notes)
	}
	intact, last := maps.Clone(store.objects), make(map[string]string)
	all := objects(t, store, "shop/compact/")
	for _, name := range all {
		if folder, _, ok := strings.Cut(name, "/catalog/"); ok {
			last[folder] = name
		}
	}
	var retired struct{ Retired []struct{ Object string } } // not read any more
	if err := json.Unmarshal(intact[last["shop/compact/"+string(first)]], &retired); err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		return slices.ContainsFunc(retired.Retired, func(r struct{ Object string }) bool { return "shop/"+r.Object == name })
	})
	for i, name := range all {
		damaged := func(what string) {
			t.Helper()
			if r := verify(t, store, archive.VerifyOptions{}); !names(r.Problems, name) {
				t.Errorf("%s %s: problems %v, want one that names it", name, what, r.Problems)
			}
			store.objects = maps.Clone(intact)
		}
		for range *flips {
			at := rng.IntN(len(intact[name]))
			bad := bytes.Clone(intact[name])
			bad[at] ^= byte(1 + rng.IntN(255))
			store.set(name, bad)
			damaged(fmt.Sprintf("with byte %d changed", at))
		}
		if !strings.Contains(name, "/catalog/") { // an older catalog holds as well
			store.set(name, nil)
			damaged("removed")
		}
		store.set(name, intact[name][:len(intact[name])/2])
		damaged("cut short")
		if next := all[(i+1)%len(all)]; next != name {
			store.set(name, intact[next])
			damaged("replaced by its neighbour")
		}
	}
}

// The compacted files of a log that is like this one, and signed.
func TestVerifyCompactedOfAnotherLog(t *testing.T) {
	_, store := compactedArchive(t)
	_, other := compactedArchive(t)
	for name := range maps.Clone(store.objects) {
		if strings.HasPrefix(name, "shop/compact/") {
			store.set(name, nil)
		}
	}
	catalog := ""
	for _, name := range objects(t, other, fmt.Sprintf("shop/compact/%s/", first)) {
		store.set(name, other.objects[name])
		if strings.Contains(name, "/catalog/") {
			catalog = name
		}
	}
	r := verify(t, store, archive.VerifyOptions{})
	found := false
	for _, p := range r.Problems {
		found = found || p.Object == catalog && strings.Contains(p.What, "do not hold the events")
	}
	if !found {
		t.Errorf("problems %v, want one that says %s is about other events", r.Problems, catalog)
	}
}
