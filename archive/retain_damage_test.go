package archive_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// What is lost or damaged in the store stays in the log, with all that is newer.
func TestRetainDamaged(t *testing.T) {
	const log = "shop"
	shard := leat.ShardNumber(0)
	segment := func(t testing.TB, a *aged, n int) string {
		seen := 0
		for _, m := range manifests(t, a.store, log, shard) {
			if m.Segment == nil {
				continue
			}
			if seen++; seen == n {
				return m.Segment.Object
			}
		}
		t.Fatalf("there are only %d segments", seen)
		return ""
	}
	for name, c := range map[string]struct {
		damage func(t testing.TB, a *aged)
		says   string
		is     error
		upTo3  bool // what lies before is gone, else nothing
	}{
		"bucket emptied": {func(_ testing.TB, a *aged) { clear(a.store.objects) }, "archive of log", leat.ErrNotFound, false},
		"manifests lost": {func(t testing.TB, a *aged) {
			for _, o := range objects(t, a.store, log+"/manifests/") {
				a.store.set(o, nil)
			}
		}, "", nil, false},
		"one manifest lost": {func(_ testing.TB, a *aged) {
			a.store.set(fmt.Sprintf("%s/manifests/%s/%020d.json", log, shard, 3), nil)
		}, "00003.json is corrupt: it is missing", leat.ErrCorrupt, false},
		"last manifest forged": {func(t testing.TB, a *aged) {
			object := fmt.Sprintf("%s/manifests/%s/%020d.json", log, shard, len(manifests(t, a.store, log, shard)))
			a.store.set(object, []byte(strings.Replace(string(a.store.objects[object]), `"min_at": "2`, `"min_at": "1`, 1)))
		}, "is corrupt", leat.ErrCorrupt, false},
		"segment lost":    {func(t testing.TB, a *aged) { a.store.set(log+"/"+segment(t, a, 3), nil) }, "is missing", leat.ErrCorrupt, true},
		"segment damaged": {func(t testing.TB, a *aged) { a.store.objects[log+"/"+segment(t, a, 3)][100] ^= 1 }, "SHA-256", leat.ErrCorrupt, true},
		"segment cut": {func(t testing.TB, a *aged) {
			object := log + "/" + segment(t, a, 3)
			a.store.set(object, a.store.objects[object][:200])
		}, "200 bytes", leat.ErrCorrupt, true},
		"segments exchanged": {func(t testing.TB, a *aged) {
			two, three := log+"/"+segment(t, a, 3), log+"/"+segment(t, a, 4)
			a.store.objects[two], a.store.objects[three] = a.store.objects[three], a.store.objects[two]
		}, "SHA-256", leat.ErrCorrupt, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAged(t, seeded(t), 4, 0, leat.Config{ID: log})
			third := segment(t, a, 3)
			cached, err := archive.Cached(a.store, t.TempDir(), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range openArchiveIn(t, cached, log).Events(t.Context(), shard, 0) {
				if err != nil {
					t.Fatal(err)
				}
			}
			intact := copied(a.store.objects)
			c.damage(t, a)
			_, err = archive.Retain(t.Context(), a.Log, cached, archive.RetainOptions{Age: time.Nanosecond})
			if !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want an error with %q", err, c.says)
			}
			oldest := a.shards(t)[0].Oldest
			if c.upTo3 && !strings.Contains(third, fmt.Sprintf("%020d-", oldest)) || !c.upTo3 && oldest != 1 {
				t.Errorf("the log is kept from %d on, the third segment is %s", oldest, third)
			}
			a.store.objects = intact // a copy was put back
			if r := a.retain(t, archive.RetainOptions{Age: time.Nanosecond}); r[0].Oldest != r[0].Archived+1 {
				t.Errorf("with all put back: %+v, want all gone that is archived", r)
			}
			a.check(t)
		})
	}
}

// What a restore would refuse is not archived: a tree that the events do not make,
// as a machine signs it whose memory fails.
func TestRetainTree(t *testing.T) {
	log, store, name := forgedTree(t)
	report, err := archive.Retain(t.Context(), log, store, archive.RetainOptions{Age: time.Nanosecond})
	if !errors.Is(err, leat.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v, want ErrCorrupt that names %s", err, name)
	}
	if len(report) != 1 || report[0].Oldest != 2 {
		t.Errorf("%+v, want all kept from the second event on", report)
	}
}

// copied returns a copy of objects.
func copied(objects map[string][]byte) map[string][]byte {
	all := make(map[string][]byte, len(objects))
	for name, data := range objects {
		all[name] = append([]byte{}, data...)
	}
	return all
}

func openArchiveIn(t testing.TB, store archive.Store, log string) *archive.Archive {
	t.Helper()
	a, err := archive.Open(t.Context(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A log that is not what was archived keeps everything.
func TestRetainAnotherLog(t *testing.T) {
	rng := seeded(t)
	a := newAged(t, rng, 3, 0, leat.Config{ID: "shop"})
	flush(t, a.archiver(t), a.Log)
	other := newAged(t, rng, 3, 0, leat.Config{ID: "shop"})
	restored := newLog(t, leat.Config{ID: "shop", Ended: []leat.Epoch{{Number: 1, Heads: map[leat.ShardID]uint64{}}}}, nil)
	appendSome(t, restored, rng, 200)
	short := newLog(t, leat.Config{ID: "shop"}, nil)
	appendSome(t, short, rng, 20)
	for name, log := range map[string]leat.Log{"of the same length": other.Log, "shorter": short, "restored elsewhere": restored} {
		if _, err := archive.Retain(t.Context(), log, a.store, archive.RetainOptions{Bytes: 1}); !errors.Is(err, leat.ErrDiverged) {
			t.Errorf("%s: %v, want ErrDiverged", name, err)
		}
		if shards, err := log.Shards(t.Context()); err != nil || shards[0].Oldest != 1 {
			t.Errorf("%s: %+v, %v; want nothing gone", name, shards, err)
		}
	}
	changed := changedLog{a.Log}
	if _, err := archive.Retain(t.Context(), changed, a.store, archive.RetainOptions{Bytes: 1}); !errors.Is(err, leat.ErrCorrupt) ||
		!strings.Contains(err.Error(), "another event of sequence 30") {
		t.Errorf("with one event that differs: %v, want ErrCorrupt that names it", err)
	}
	if s := a.shards(t)[0]; s.Oldest > 30 {
		t.Errorf("the log is kept from %d on, want the event that differs kept", s.Oldest)
	}
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Retain(t.Context(), a.Log, a.store, archive.RetainOptions{Bytes: 1, Keys: []string{key.Public()}}); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("with a key that has signed nothing: %v, want ErrCorrupt", err)
	}
}

// A changedLog has one event that is not the archived one, and says that it
// keeps everything, as one that reads through to its archive does.
type changedLog struct{ *leattest.Log }

func (l changedLog) Shards(ctx context.Context) ([]leat.Shard, error) {
	shards, err := l.Log.Shards(ctx)
	for i := range shards {
		shards[i].Oldest = 1
	}
	return shards, err
}

func (l changedLog) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := l.Log.ReadShard(ctx, shard, after, o)
	for i := range b.Events {
		if b.Events[i].Seq == 30 {
			b.Events[i].Data = []byte("changed")
		}
	}
	return b, err
}
