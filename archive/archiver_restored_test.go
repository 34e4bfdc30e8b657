package archive_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

func TestAnotherLogOfTheSameID(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	long, short := newLog(t, leat.Config{ID: "shop"}, nil), newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, long, rng, 50)
	appendSome(t, short, rng, 20)
	flush(t, newArchiver(t, long, store), long)
	a := newArchiver(t, short, store)
	for name, err := range map[string]error{"Flush": a.Flush(t.Context(), head(t, short)), "Run": a.Run(t.Context())} {
		if !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: %v, want ErrDiverged", name, err)
		}
	}
	appendSome(t, short, rng, 200)
	if err := newArchiver(t, short, store).Flush(t.Context(), head(t, short)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("when it has become the longer one: %v, want ErrDiverged", err)
	}
	single := newLog(t, leat.Config{ID: "shop", Single: true}, nil)
	if err := newArchiver(t, single, store).Flush(t.Context(), leat.Checkpoint{}); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("a single log of the same ID: %v, want ErrDiverged", err)
	}
}

// A log restored from its archive goes on in it, under its new epoch.
func TestRestoredLog(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	splitFirst(t, log)
	appendSome(t, log, rng, 50)
	flush(t, newArchiver(t, log, store), log)
	kept := head(t, log)
	appendSome(t, log, rng, 50) // lost

	restored := restore(t, openArchive(t, store, log), leat.Epoch{Number: 1, Heads: kept.Seqs})
	a := newArchiver(t, restored, store)
	flush(t, a, restored)
	audit(t, store, restored)
	appendSome(t, restored, rng, 50)
	flush(t, a, restored)
	audit(t, store, restored)

	if err := newArchiver(t, log, store).Flush(t.Context(), head(t, log)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("the log before the restore: %v, want ErrDiverged", err)
	}
}

// A log that a restore took back to before what is archived must not go on in
// that archive.
func TestRestoredBehindTheArchive(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	flush(t, newArchiver(t, log, store), log)
	kept := head(t, log)
	kept.Set(leat.ShardNumber(0), 10)

	restored := newLog(t, leat.Config{ID: "shop", Ended: []leat.Epoch{{Number: 1, Heads: kept.Seqs}}}, nil)
	appendSome(t, restored, rng, 100)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// A log that goes on where the archive says its shard has ended must not be left
// out in silence.
func TestRestoredBeforeASplit(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, log, rng, 50)
	kept, events := head(t, log), readLog(t, log, leat.ShardNumber(0))
	splitFirst(t, log)
	flush(t, newArchiver(t, log, store), log)

	restored := newLog(t, leat.Config{ID: "shop", Ended: []leat.Epoch{{Number: 1, Heads: kept.Seqs}}}, nil)
	if err := restored.Import(t.Context(), leat.ShardNumber(0), events); err != nil {
		t.Fatal(err)
	}
	appendSome(t, restored, rng, 10)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// TestArchiverOfAnEndedEpoch lets the log from before a restore go on in one
// shard, while the archiver of the restored log was killed after it had begun
// the new epoch in another.
func TestArchiverOfAnEndedEpoch(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil)
	appendSome(t, log, rng, 50)
	zombie := newArchiver(t, log, store)
	flush(t, zombie, log)
	restored := restore(t, openArchive(t, store, log), leat.Epoch{Number: 1, Heads: head(t, log).Seqs})

	killed := errors.New("killed")
	begun := len(manifests(t, store, "shop", leat.ShardNumber(0))) + 1
	store.fail = func(int) (before, after error) {
		if store.objects[fmt.Sprintf("shop/manifests/%s/%020d.json", leat.ShardNumber(0), begun)] != nil {
			return killed, nil
		}
		return nil, nil
	}
	if err := newArchiver(t, restored, store).Flush(t.Context(), leat.Checkpoint{}); !errors.Is(err, killed) {
		t.Fatalf("%v, want the archiver killed", err)
	}
	store.fail = nil
	name := "order-0"
	for n := 0; leat.OpenShard(leat.EvenShards(2), leat.RouteHash(name)) != 1; n++ {
		name = fmt.Sprintf("order-%d", n)
	}
	appendOne(t, log, name)
	flush(t, zombie, log)
	appendSome(t, restored, rng, 100)
	if err := newArchiver(t, restored, store).Flush(t.Context(), head(t, restored)); !errors.Is(err, leat.ErrDiverged) {
		t.Errorf("%v, want ErrDiverged", err)
	}
}

// restore makes a log of what is archived.
func restore(t *testing.T, a *archive.Archive, ended leat.Epoch) leat.Log {
	t.Helper()
	shards, err := a.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := newLog(t, leat.Config{ID: a.Log(), Shards: shards, Ended: []leat.Epoch{ended}}, nil)
	for _, s := range shards {
		var events []leat.Recorded
		for e, err := range a.Events(t.Context(), s.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		if err := log.Import(t.Context(), s.ID, events); err != nil {
			t.Fatal(err)
		}
	}
	return log
}
