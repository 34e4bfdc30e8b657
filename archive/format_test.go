package archive_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
)

var update = flag.Bool("update", false, "write testdata/format-1 anew; only before a release has written it")

const format1 = "testdata/format-1"

// format1Log returns the log that is archived in testdata/format-1.
func format1Log(t *testing.T) *leattest.Log {
	t.Helper()
	now := time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	log := newLog(t, leat.Config{ID: "shop"}, func() time.Time { return now })
	add := func(events ...leat.Event) {
		if _, err := log.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	add(leat.Event{
		ID: "placed-536365", Stream: "order-{c42}-536365", Type: "OrderPlaced", Source: "orders",
		Time: time.Date(2010, 12, 1, 8, 26, 0, 1, time.UTC), Data: []byte(`{"total":139120}`),
		Meta: leat.NewMeta("causationid", "cmd-1", "correlationid", "536365"),
	}, leat.Event{
		ID: "seen-1", Stream: "customer-{c42}", Type: "CustomerSeen", Source: "orders",
		Time: time.Unix(0, -1).UTC(), ContentType: "application/octet-stream", Data: []byte{0, 255, 0},
	})
	now = now.Add(time.Second)
	splitFirst(t, log)
	add(leat.Event{ID: "cancelled-536365", Stream: "order-{c42}-536365", Type: "OrderCancelled", Source: "bücher", ContentType: "text/plain"})
	return log
}

// Every later version reads what this one wrote.
func TestFormat1IsRead(t *testing.T) {
	log := format1Log(t)
	if *update {
		if err := os.RemoveAll(format1); err != nil {
			t.Fatal(err)
		}
		flush(t, newArchiver(t, log, openStore(t, format1)), log)
		if err := os.RemoveAll(format1 + "/~tmp"); err != nil {
			t.Fatal(err)
		}
	}
	store := newMemoryStore()
	if err := fs.WalkDir(os.DirFS(format1), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(format1 + "/" + name)
		store.set(name, data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	audit(t, store, log)

	// What is written today differs at most in what the compressor makes of it.
	again := newMemoryStore()
	flush(t, newArchiver(t, log, again), log)
	if got, want := objects(t, again, ""), objects(t, store, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("objects\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range []string{
		"shop/log.json", "shop/manifests/shardId-000000000000/00000000000000000001.json",
	} {
		if got, want := string(again.objects[name]), string(store.objects[name]); got != want {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
}

// The leaf hash that docs/format-archive.md computes as an example.
func TestLeafHash(t *testing.T) {
	log, store := format1Log(t), newMemoryStore()
	flush(t, newArchiver(t, log, store), log)
	segment := store.objects["shop/"+manifests(t, store, "shop", leat.ShardNumber(0))[1].Segment.Object]
	rows, err := parquet.Read[struct {
		LeafHash [32]byte `parquet:"leaf_hash"`
	}](bytes.NewReader(segment), int64(len(segment)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "e19925df8506a75c3c0768330ab9b923d0246359f3e4afa1102c120a5148d10c"
	if got := hex.EncodeToString(rows[0].LeafHash[:]); got != want {
		t.Errorf("leaf hash %s, want %s", got, want)
	}
}
