package archive_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// restoreFrom makes a log of all that a store holds of another.
func restoreFrom(t testing.TB, store archive.Store, id string) *leattest.Log {
	t.Helper()
	a, err := archive.Open(t.Context(), store, id, testKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	log := planned(t, a)
	if _, err := a.Restore(t.Context(), log, nil); err != nil {
		t.Fatal(err)
	}
	return log
}

// planned makes the empty log that an archive is restored into.
func planned(t testing.TB, a *archive.Archive) *leattest.Log {
	t.Helper()
	config, err := a.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newLog(t, config, nil)
}

// sameEvents checks that a log holds what another one did up to its own heads.
func sameEvents(t testing.TB, got leat.Log, want map[leat.ShardID][]leat.Recorded) {
	t.Helper()
	shards, err := got.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		events := readLog(t, got, s.ID)
		if len(events) > len(want[s.ID]) {
			t.Fatalf("%s holds %d events, the log held %d", s.ID, len(events), len(want[s.ID]))
		}
		for i, e := range events {
			if e, w := normal(e), normal(want[s.ID][i]); !reflect.DeepEqual(e, w) {
				t.Fatalf("restored\n%+v, want\n%+v", e, w)
			}
		}
	}
}

// TestRestoreAgainAndAgain restores, goes on, splits, trims, archives and
// restores again.
func TestRestoreAgainAndAgain(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil)
	history := make(map[leat.ShardID][]leat.Recorded)
	first := leat.Event{ID: "first", Stream: "order-1", Type: "T", Source: "s", Data: []byte("1")}
	receipt, err := log.Append(t.Context(), []leat.Event{first})
	if err != nil {
		t.Fatal(err)
	}
	var seen []leat.Checkpoint
	for epoch := uint64(1); epoch <= 4; epoch++ {
		appendSome(t, log, rng, 60)
		splitFirst(t, log)
		appendSome(t, log, rng, 60)
		flush(t, newArchiver(t, log, store), log)
		below := min(20, head(t, log).Seqs[leat.ShardNumber(0)]+1)
		if _, err := log.Trim(t.Context(), leat.ShardNumber(0), below); err != nil {
			t.Fatal(err)
		}
		flush(t, newArchiver(t, log, store), log)
		seen = append(seen, head(t, log))
		for shard := range head(t, log).Seqs {
			for e, err := range openArchive(t, store, log).Events(t.Context(), shard, uint64(len(history[shard]))) {
				if err != nil {
					t.Fatal(err)
				}
				history[shard] = append(history[shard], e)
			}
		}
		lost := head(t, log)
		if epoch%2 == 0 { // with events that were not archived
			appendSome(t, log, rng, 60)
			lost = head(t, log)
		}
		restoreFrom(t, store, "shop") // one that is thrown away took an epoch
		log = restoreFrom(t, store, "shop")
		sameEvents(t, log, history)
		info, err := log.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Epoch != 1+2*epoch {
			t.Errorf("restore %d has epoch %d, want %d", epoch, info.Epoch, 1+2*epoch)
		}
		shards, err := log.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range seen {
			if err := c.Verify(info, shards); err != nil {
				t.Errorf("restore %d: checkpoint %s on what was kept: %v", epoch, c, err)
			}
		}
		if err := lost.Verify(info, shards); (epoch%2 == 0) != errors.Is(err, leat.ErrDiverged) {
			t.Errorf("restore %d: checkpoint %s: %v", epoch, lost, err)
		}
		again, err := log.Append(t.Context(), []leat.Event{first}, leat.ExpectNew("order-1"))
		want := receipt
		want.Duplicate = true
		if err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("restore %d: append of what was recorded: %+v, %v, want %+v", epoch, again, err, want)
		}
	}
	report, err := archive.Verify(t.Context(), store, "shop", archive.VerifyOptions{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("verify: %v, %v", report.Problems, err)
	}
}

// TestRestoreOfKilledArchiver kills an archiver at each of its calls: what it
// left can be restored, and archived on.
func TestRestoreOfKilledArchiver(t *testing.T) {
	rng := seeded(t)
	log := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil)
	for range 3 {
		appendSome(t, log, rng, 15)
		splitFirst(t, log)
	}
	appendSome(t, log, rng, 15)
	history := make(map[leat.ShardID][]leat.Recorded)
	for shard := range head(t, log).Seqs {
		history[shard] = readLog(t, log, shard)
	}
	killed := errors.New("killed")
	for call := 1; ; call++ {
		store := newMemoryStore()
		store.fail = func(n int) (before, after error) {
			if n > call {
				return killed, nil
			}
			return nil, nil
		}
		err := newArchiver(t, log, store).Flush(t.Context(), head(t, log))
		if err == nil {
			return
		}
		store.fail = nil
		a, err := archive.Open(t.Context(), store, "shop")
		if errors.Is(err, leat.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		config, err := a.Config(t.Context())
		if errors.Is(err, leat.ErrNotFound) {
			continue // nothing but log.json
		}
		if err != nil {
			t.Fatalf("killed after call %d: %v", call, err)
		}
		restored := newLog(t, config, nil)
		if _, err := a.Restore(t.Context(), restored, nil); err != nil {
			t.Fatalf("killed after call %d: %v", call, err)
		}
		sameEvents(t, restored, history)
		appendSome(t, restored, rng, 10)
		flush(t, newArchiver(t, restored, store), restored)
		audit(t, store, restored)
	}
}

// An interrupted log fails at one Import.
type interrupted struct {
	*leattest.Log
	imports int // until it fails
}

var errInterrupted = errors.New("interrupted")

func (l *interrupted) Import(ctx context.Context, shard leat.ShardID, events []leat.Recorded) error {
	if l.imports--; l.imports < 0 {
		return errInterrupted
	}
	return l.Log.Import(ctx, shard, events)
}

func TestRestoreGoesOn(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	a := newArchiver(t, log, store)
	for range 3 {
		appendSome(t, log, rng, 40)
		flush(t, a, log)
	}
	splitFirst(t, log)
	appendSome(t, log, rng, 40)
	flush(t, a, log)
	opened := openArchive(t, store, log)
	target := &interrupted{Log: planned(t, opened)}
	appendSome(t, log, rng, 40) // archived after the restore began: not its matter
	flush(t, a, log)
	for n := 0; ; n++ {
		target.imports = 1
		before := head(t, target)
		done, err := opened.Restore(t.Context(), target, nil)
		if err == nil {
			if len(done.Checkpoints) != 3 || done.Imported > done.Events || n < 2 {
				t.Errorf("restored in %d calls: %+v", n+1, done)
			}
			break
		}
		if !errors.Is(err, errInterrupted) || head(t, target).Equal(before) {
			t.Fatalf("call %d: %v", n, err)
		}
	}
	done, err := opened.Restore(t.Context(), target, nil)
	if err != nil || done.Imported != 0 {
		t.Errorf("restore of what is restored: %+v, %v", done, err)
	}
}

func TestRestoreIntoWhatWasAppendedTo(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	a := newArchiver(t, log, store)
	appendSome(t, log, rng, 40)
	flush(t, a, log)
	for name, more := range map[string]int{"less than is archived": 3, "more than is archived": 50} {
		opened := openArchive(t, store, log)
		target := planned(t, opened)
		appendSome(t, target, rng, more)
		if _, err := opened.Restore(t.Context(), target, nil); !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: %v, want ErrDiverged", name, err)
		}
	}
	opened := openArchive(t, store, log)
	if _, err := opened.Restore(t.Context(), newLog(t, leat.Config{ID: "shop"}, nil), nil); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("a log that Config did not plan: %v, want ErrInvalid", err)
	}
}

// TestRestoreNamesWhatIsDamaged flips a byte in each object in turn.
func TestRestoreNamesWhatIsDamaged(t *testing.T) {
	store, rng := newMemoryStore(), seeded(t)
	log := newLog(t, leat.Config{ID: "shop"}, nil)
	a := newArchiver(t, log, store)
	for range 3 {
		appendSome(t, log, rng, 20)
		flush(t, a, log)
	}
	splitFirst(t, log)
	appendSome(t, log, rng, 20)
	flush(t, a, log)
	restoreIt := func() error {
		a, err := archive.Open(t.Context(), store, "shop", testKey(t).Public())
		if err != nil {
			return err
		}
		config, err := a.Config(t.Context())
		if err != nil {
			return err
		}
		_, err = a.Restore(t.Context(), newLog(t, config, nil), nil)
		return err
	}
	for _, name := range objects(t, store, "") {
		good := store.objects[name]
		bad := slices.Clone(good)
		bad[rng.IntN(len(bad))] ^= 1
		store.set(name, bad)
		err := restoreIt()
		store.set(name, good)
		if !errors.Is(err, leat.ErrCorrupt) && !errors.Is(err, leat.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("a byte of %s is flipped: %v", name, err)
		}
	}
	if err := restoreIt(); err != nil {
		t.Error(err)
	}
}
