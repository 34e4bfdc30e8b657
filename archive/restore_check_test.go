package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// restorable returns a log of one shard, its archive and the name and text of its
// last manifest.
func restorable(t *testing.T) (log *leattest.Log, store *memoryStore, name, manifest string) {
	t.Helper()
	rng := seeded(t)
	log, store = newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	appendSome(t, log, rng, 10)
	flush(t, a, log)
	appendSome(t, log, rng, 20)
	flush(t, a, log)
	name = fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), len(manifests(t, store, "shop", leat.ShardNumber(0))))
	return log, store, name, string(store.objects[name])
}

// A segment with a manifest that vouches for it, and another content than was
// archived, is restored as the log wrote it, or not at all.
func TestRestoreOfForgedSegment(t *testing.T) {
	log, store, name, manifest := restorable(t)
	rng, shard := seeded(t), leat.ShardNumber(0)
	want := map[leat.ShardID][]leat.Recorded{shard: readLog(t, log, shard)}
	all := manifests(t, store, "shop", shard)
	last := all[len(all)-1].Segment
	good := store.objects["shop/"+last.Object]
	found, key := 0, testKey(t)
	for range 200 {
		forged := bytes.Clone(good)
		at := rng.IntN(len(good))
		forged[at] ^= byte(1 + rng.IntN(255))
		sum := sha256.Sum256(forged)
		store.set("shop/"+last.Object, forged)
		store.set(name, archive.Resign([]byte(strings.Replace(manifest, last.SHA256, hex.EncodeToString(sum[:]), 1)), key))
		a := openArchive(t, store, log)
		restored := planned(t, a)
		_, err := a.Restore(t.Context(), restored, nil)
		switch {
		case err == nil:
			sameEvents(t, restored, want)
		case !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), last.Object):
			t.Fatalf("byte %d: %v, want ErrCorrupt that names %s", at, err, last.Object)
		default:
			found++
		}
	}
	if found == 0 {
		t.Error("no forgery was found")
	}
}

// A segment that is whole in itself and not of the signed tree is the fault of the
// manifest that names it.
func TestRestoreOfAnotherTree(t *testing.T) {
	stores := make([]*memoryStore, 2)
	var log *leattest.Log
	for i := range stores {
		log = newLog(t, leat.Config{ID: "shop"}, func() time.Time { return time.Unix(1e9, 0) })
		stores[i] = newMemoryStore()
		e := leat.Event{ID: "1", Stream: "order-1", Type: "OrderPlaced", Source: "shop", Data: []byte{byte(i)}}
		if _, err := log.Append(t.Context(), []leat.Event{e}); err != nil {
			t.Fatal(err)
		}
		flush(t, newArchiver(t, log, stores[i]), log)
	}
	shard, store := leat.ShardNumber(0), stores[0]
	name := fmt.Sprintf("shop/manifests/%s/%020d.json", shard, 2)
	own, other := manifests(t, store, "shop", shard)[1].Segment, manifests(t, stores[1], "shop", shard)[1].Segment
	store.set("shop/"+own.Object, stores[1].objects["shop/"+other.Object])
	text := string(stores[1].objects[name])
	tree, otherTree := text[strings.Index(text, `"tree"`):strings.Index(text, `"checkpoint"`)], string(store.objects[name])
	otherTree = otherTree[strings.Index(otherTree, `"tree"`):strings.Index(otherTree, `"checkpoint"`)]
	store.set(name, archive.Resign([]byte(strings.Replace(text, tree, otherTree, 1)), testKey(t)))

	a := openArchive(t, store, log)
	_, err := a.Restore(t.Context(), planned(t, a), nil)
	if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v, want ErrCorrupt that names %s", err, name)
	}
}

// A forgetful log returns other events than it was given.
type forgetful struct {
	*leattest.Log
	seq uint64 // of the event whose data it loses
}

func (l forgetful) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, shard, after, o)
	for i := range b.Events {
		if b.Events[i].Seq == l.seq {
			b.Events[i].Data = append(b.Events[i].Data, ' ')
		}
	}
	return b, err
}

func (forgetful) ScanShard(context.Context, leat.ShardID, uint64, leat.ReadOptions, func(*leat.Recorded) error) (leat.Batch, error) {
	return leat.Batch{}, leat.ErrUnsupported
}

func TestRestoreIntoForgetfulLog(t *testing.T) {
	log, store, _, _ := restorable(t)
	for _, seq := range []uint64{1, 15, 30} {
		a := openArchive(t, store, log)
		_, err := a.Restore(t.Context(), forgetful{planned(t, a), seq}, nil)
		if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), "does not return what was imported") {
			t.Errorf("event %d: %v, want ErrCorrupt that blames the log", seq, err)
		}
	}
}
