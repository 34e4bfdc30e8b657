package archive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/leattest"
)

// TestTier lets the reference log archive and forget what it records, so that most
// of what the suite reads comes from the archive. The suite's checks of trimming
// do not apply: a tier is no Trimmer, because it has to show what its log trims.
func TestTier(t *testing.T) {
	rng := seeded(t)
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		t.Helper()
		log, err := leattest.New(s.Config, s.Clock)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { log.Close() })
		l := newArchiving(t, log, newMemoryStore(), 2, rand.New(rand.NewPCG(rng.Uint64(), 0)))
		return leattest.Instance{Log: archive.LazyTier(l, l.open)}
	})
}

// TestTierOfEngine does the same with the engine, which is a Scanner, and an
// archive in a directory.
func TestTierOfEngine(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		t.Helper()
		log, err := engine.Create("log", s.Config, engine.Options{FS: vfs.NewMem(), GenerationEvents: 2, Clock: s.Clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { log.Close() })
		store, err := archive.OpenStore("file://" + t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		l := newArchiving(t, log, store, 20, rand.New(rand.NewPCG(rng.Uint64(), 0)))
		return leattest.Instance{Log: archive.LazyTier(archivingScanner{l, log}, l.open)}
	})
}

// An archivingScanner is an archivingLog that is a Scanner.
type archivingScanner struct {
	*archivingLog
	scanner leat.Scanner
}

var errForgotten = errors.New("forgotten meanwhile")

// ScanShard shows events until it comes to what was forgotten meanwhile.
func (l archivingScanner) ScanShard(
	ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error,
) (leat.Batch, error) {
	b, err := l.scanner.ScanShard(ctx, shard, after, o, func(e *leat.Recorded) error {
		if e.Seq < l.shown()[shard] {
			return errForgotten
		}
		return visit(e)
	})
	if oldest := l.shown()[shard]; errors.Is(err, errForgotten) || err == nil && after+1 < oldest {
		return leat.Batch{}, &leat.TrimmedError{Shard: shard, Oldest: oldest}
	}
	return b, err
}
