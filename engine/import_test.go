package engine_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

func recorded(shard, seq, version int) leat.Recorded {
	at := time.Unix(int64(1000+seq), 0).UTC()
	r := leat.Recorded{
		Event: event(leat.NewID()), Shard: leat.ShardNumber(shard), Seq: uint64(seq), Commit: uint64(seq), Version: uint64(version), At: at,
	}
	r.Time, r.ContentType = at, leat.DefaultContentType
	return r
}

// TestImportBehindDescendants imports into a shard whose grandchild holds events
// while its child holds none: they would come before events that are there.
func TestImportBehindDescendants(t *testing.T) {
	log := create(t, vfs.NewMem(), engine.Options{})
	parent := leat.ShardNumber(0)
	for range 2 {
		shards, err := log.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := shards[leat.OpenShard(shards, leat.RouteHash("order-1"))]
		parent = s.ID
		if _, err := log.Split(t.Context(), parent, s.Middle()); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, log, event("a"))
	for _, id := range []leat.ShardID{leat.ShardNumber(0), parent} {
		r := recorded(0, 1, 2)
		r.Shard, r.At = id, time.Now().Add(time.Hour)
		if err := log.Import(t.Context(), id, []leat.Recorded{r}); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("import into %s: got %v, want ErrInvalid", id, err)
		}
	}
}

// TestImportNearTheEndOfNumbers imports a sequence, a version and an At that have
// no next.
func TestImportNearTheEndOfNumbers(t *testing.T) {
	for name, change := range map[string]func(*leat.Recorded){
		"seq":     func(r *leat.Recorded) { r.Seq, r.Commit = math.MaxUint64, math.MaxUint64 },
		"version": func(r *leat.Recorded) { r.Version = math.MaxUint64 },
		"at":      func(r *leat.Recorded) { r.At = time.Unix(0, math.MaxInt64) },
	} {
		log := create(t, vfs.NewMem(), engine.Options{})
		r := recorded(0, 7, 1)
		change(&r)
		if err := log.Import(t.Context(), r.Shard, []leat.Recorded{r}); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}
