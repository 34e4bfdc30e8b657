package archive_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// catalogs returns the catalogs of the first shard, the newest first.
func catalogs(t testing.TB, store archive.Store) []string {
	t.Helper()
	all := objects(t, store, fmt.Sprintf("shop/compact/%s/catalog/", first))
	slices.Reverse(all)
	return all
}

// A catalog that is removed takes the archive back to what it was before that
// catalog came, or to files that are gone. The streams stay what they were, or
// readers and verify name the file that is missing. Nobody is told less.
func TestCatalogsRemoved(t *testing.T) {
	log, store := compactedArchive(t)
	swept := newMemoryStore() // what the months have replaced is gone there
	swept.objects = maps.Clone(store.objects)
	if r, err := openArchive(t, swept, log).Compact(t.Context(), archive.CompactOptions{Key: testKey(t), Grace: time.Nanosecond}); err != nil || r.Removed == 0 {
		t.Fatal(r, err)
	}
	names := streams(t, log)
	well, broken := 0, 0
	for _, store := range []*memoryStore{store, swept} {
		for all := catalogs(t, store); len(all) > 0; all = all[1:] {
			store.set(all[0], nil)
			a, missing := openArchive(t, store, log), ""
			for name := range names {
				got, err := readStream(a.Stream(t.Context(), name, leat.Range{}))
				if err != nil {
					if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), "is missing") {
						t.Fatal(err)
					}
					missing = err.Error()
					continue
				}
				want, _ := readStream(log.ReadStream(t.Context(), name, leat.Range{}))
				if !reflect.DeepEqual(got, want) {
					t.Errorf("without %s stream %q is\n%+v, want\n%+v", all[0], name, got, want)
				}
			}
			r := verify(t, store, archive.VerifyOptions{})
			switch {
			case missing == "" && len(r.Problems) > 0:
				t.Errorf("without %s every stream is right, and there are problems %v", all[0], r.Problems)
			case missing != "" && !slices.ContainsFunc(r.Problems, func(f archive.Finding) bool { return strings.Contains(missing, f.Object) }):
				t.Errorf("without %s: %s, and the problems are %v", all[0], missing, r.Problems)
			case missing == "":
				well++
			default:
				broken++
			}
		}
		for _, name := range objects(t, store, fmt.Sprintf("shop/compact/%s/", first)) { // as verify says
			store.set(name, nil)
		}
		if _, err := openArchive(t, store, log).Compact(t.Context(), archive.CompactOptions{Key: testKey(t)}); err != nil {
			t.Fatal(err)
		}
		auditWholeStreams(t, openArchive(t, store, log).Stream, log)
		healthy(t, store, log)
	}
	if well < 2 || broken < 1 {
		t.Errorf("%d archives were well and %d broken, want some of both", well, broken)
	}
}

// Of the files of a catalog that is removed, or was never written, verify tells.
func TestVerifyNotesMissingCatalog(t *testing.T) {
	log, store := compactedArchive(t)
	for _, name := range catalogs(t, store) {
		store.set(name, nil)
	}
	r := healthy(t, store, log)
	for _, name := range objects(t, store, fmt.Sprintf("shop/compact/%s/", first)) {
		if !names(r.Notes, name) {
			t.Errorf("%s is not in %v", name, r.Notes)
		}
	}
	if !strings.Contains(fmt.Sprint(r.Notes), "which is not there") {
		t.Errorf("notes %v, want one about a catalog that is not there", r.Notes)
	}
}
