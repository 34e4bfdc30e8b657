package archive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// An aged is a log whose events were recorded over time, and its archive.
type aged struct {
	*leattest.Log
	store *memoryStore
	clock time.Time
	all   map[leat.ShardID][]leat.Recorded // that were ever recorded
}

// newAged returns a log of some days, 40 events a day in segments of a few,
// archived but for the last day. More days are to follow up to now.
func newAged(t testing.TB, rng *rand.Rand, days, more int, c leat.Config) *aged {
	t.Helper()
	a := &aged{store: newMemoryStore(), clock: time.Now().Add(-time.Duration(days+more) * day)}
	a.Log = newLog(t, c, func() time.Time { return a.clock })
	for range days {
		flush(t, a.archiver(t), a.Log)
		a.day(t, rng)
	}
	a.all = a.read(t)
	return a
}

func (a *aged) archiver(t testing.TB) *archive.Archiver {
	t.Helper()
	archiver, err := archive.NewArchiver(a.Log, a.store, archive.Config{Key: testKey(t), SegmentBytes: 2 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return archiver
}

// day records the events of a day.
func (a *aged) day(t testing.TB, rng *rand.Rand) {
	t.Helper()
	for range 10 {
		a.clock = a.clock.Add(day / 10)
		appendSome(t, a.Log, rng, 4)
	}
}

func (a *aged) shards(t testing.TB) []leat.Shard {
	t.Helper()
	shards, err := a.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// read returns what the log keeps.
func (a *aged) read(t testing.TB) map[leat.ShardID][]leat.Recorded {
	t.Helper()
	all := make(map[leat.ShardID][]leat.Recorded)
	for _, s := range a.shards(t) {
		for after := s.Oldest - 1; after < s.Head; {
			b, err := a.ReadShard(t.Context(), s.ID, after, leat.ReadOptions{Filter: leat.Filter{System: true}})
			if err != nil {
				t.Fatal(err)
			}
			all[s.ID] = append(all[s.ID], b.Events...)
			after = b.Next
		}
	}
	return all
}

// check checks that what is not in the log is in the archive, and that the log
// begins between Appends, in children only when it keeps nothing of parents.
func (a *aged) check(t testing.TB) {
	t.Helper()
	kept, archived := a.read(t), openArchive(t, a.store, a.Log)
	shards := a.shards(t)
	for _, s := range shards {
		all := a.all[s.ID]
		removed := all[:min(s.Oldest-1, uint64(len(all)))]
		if len(kept[s.ID]) > 0 && kept[s.ID][0].Commit != s.Oldest {
			t.Errorf("%s begins at %d, inside the append at %d", s.ID, s.Oldest, kept[s.ID][0].Commit)
		}
		i := 0
		for e, err := range archived.Events(t.Context(), s.ID, 0) {
			if errors.Is(err, leat.ErrNotFound) {
				break // nothing of it yet
			}
			if err != nil {
				t.Fatal(err)
			}
			if i < len(removed) && !reflect.DeepEqual(normal(e), normal(removed[i])) {
				t.Fatalf("%s: archived\n%+v, the log had\n%+v", s.ID, e, removed[i])
			}
			i++
		}
		if i < len(removed) {
			t.Errorf("%s is kept from %d on and archived up to %d", s.ID, s.Oldest, i)
		}
		for _, p := range shards {
			if len(s.Parents) > 0 && p.ID == s.Parents[0] && s.Oldest > 1 && p.Oldest <= p.Head {
				t.Errorf("%s is trimmed, and of %s, which it continues, there are events", s.ID, p.ID)
			}
		}
	}
}

func (a *aged) retain(t testing.TB, o archive.RetainOptions) []archive.Retained {
	t.Helper()
	report, err := archive.Retain(t.Context(), a.Log, a.store, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const day = 24 * time.Hour

func TestRetainAge(t *testing.T) {
	rng := seeded(t)
	a := newAged(t, rng, 6, 0, leat.Config{Shards: leat.EvenShards(2)})
	before, calls := a.shards(t), a.store.calls
	plan := a.retain(t, archive.RetainOptions{Age: 3 * day, DryRun: true})
	if !reflect.DeepEqual(a.shards(t), before) {
		t.Error("a dry run has changed the log")
	}
	if n := a.store.calls - calls; n > 60 {
		t.Errorf("a dry run took %d calls of the store", n)
	}
	report := a.retain(t, archive.RetainOptions{Age: 3 * day})
	if !reflect.DeepEqual(report, plan) {
		t.Errorf("retained\n%+v, the dry run said\n%+v", report, plan)
	}
	a.check(t)
	for i, s := range a.shards(t) {
		events := a.all[s.ID]
		r := report[i]
		if r.Shard != s.ID || r.From != 1 || r.Oldest != s.Oldest || r.Segments == 0 || r.RemovedBytes == 0 || r.Archived == 0 {
			t.Errorf("the report says %+v of %+v", r, s)
		}
		if kept := time.Since(events[s.Oldest-1].At); kept < 2*day || kept > 4*day {
			t.Errorf("%s keeps %s, want 3 days but for a segment", s.ID, kept)
		}
		if gone := events[s.Oldest-2]; time.Since(gone.At) < 3*day {
			t.Errorf("%s: sequence %d, committed at %s, is gone", s.ID, gone.Seq, gone.At)
		}
	}
	removals := 0
	for e, err := range a.ReadStream(t.Context(), leat.SystemStream, leat.Range{}) {
		if err != nil || e.Type != leat.TypeTrimmed {
			t.Fatal(e, err)
		}
		removals++
	}
	if removals != 2 {
		t.Errorf("%d removals are recorded, want one a shard", removals)
	}

	calls = a.store.calls
	if again := a.retain(t, archive.RetainOptions{Age: 3 * day}); again[0].Segments != 0 || again[0].Oldest != report[0].Oldest {
		t.Errorf("again: %+v, want nothing left to do", again)
	}
	if n := a.store.calls - calls; n > 30 {
		t.Errorf("to do nothing took %d calls of the store", n)
	}
	if latest := a.retain(t, archive.RetainOptions{Age: time.Nanosecond}); latest[0].Oldest != latest[0].Archived+1 {
		t.Errorf("without any age: %+v, want all that is archived gone, and no more", latest)
	}
	a.check(t)
}

func TestRetainBytes(t *testing.T) {
	a := newAged(t, seeded(t), 6, 0, leat.Config{Shards: leat.EvenShards(3)})
	flush(t, a.archiver(t), a.Log)
	var all int64
	for _, events := range a.all {
		for i := range events {
			all += int64(events[i].Size())
		}
	}
	if report := a.retain(t, archive.RetainOptions{Bytes: all}); report[0].Segments+report[1].Segments+report[2].Segments > 0 {
		t.Errorf("%+v, want nothing gone as long as there is room", report)
	}
	report := a.retain(t, archive.RetainOptions{Bytes: all / 2})
	a.check(t)
	var kept, counted int64
	newest, oldest := time.Time{}, time.Now()
	for i, s := range a.shards(t) {
		for j := range a.all[s.ID] {
			e := &a.all[s.ID][j]
			switch {
			case e.Seq >= s.Oldest:
				kept += int64(e.Size())
				if e.Seq == s.Oldest && e.At.Before(oldest) {
					oldest = e.At
				}
			case e.At.After(newest):
				newest = e.At
			}
		}
		counted += report[i].KeptBytes
	}
	if kept > all/2 || kept < all/4 || counted != kept {
		t.Errorf("%d bytes are kept, the report says %d; want %d but for a segment", kept, counted, all/2)
	}
	if newest.Sub(oldest) > 2*day {
		t.Errorf("an event of %s is gone and one of %s is kept", newest, oldest)
	}
}

// What is kept by bytes takes into account what is not archived yet.
func TestRetainBehind(t *testing.T) {
	rng := seeded(t)
	a := newAged(t, rng, 3, 3, leat.Config{})
	for range 3 {
		a.day(t, rng)
	}
	report := a.retain(t, archive.RetainOptions{Bytes: 1})
	if r := report[0]; r.Oldest != 81 || r.Archived != 80 || r.KeptBytes == 0 {
		t.Errorf("%+v, want the 80 archived events gone, and those to come counted", r)
	}
	a.all = map[leat.ShardID][]leat.Recorded{}
	a.check(t)
	flush(t, a.archiver(t), a.Log)
}

func TestRetainSplits(t *testing.T) {
	rng := seeded(t)
	a := newAged(t, rng, 2, 4, leat.Config{})
	for range 4 {
		splitFirst(t, a.Log)
		a.day(t, rng)
		if rng.IntN(2) == 0 {
			flush(t, a.archiver(t), a.Log)
		}
	}
	a.all = a.read(t)
	for i := range 12 {
		a.retain(t, archive.RetainOptions{Age: 6*day - time.Duration(i)*day/2})
		a.check(t)
		if i == 6 {
			flush(t, a.archiver(t), a.Log)
		}
	}
	if s := a.shards(t)[0]; s.Oldest != s.Head+1 {
		t.Errorf("of the first shard %d to %d are kept, want nothing", s.Oldest, s.Head)
	}
}

// Interrupted at every call of the store, of either side, or at a trim, Retain
// loses nothing and goes on.
func TestRetainInterrupted(t *testing.T) {
	interrupted := errors.New("interrupted")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n, survived := 1, false; !survived; n++ {
		a := newAged(t, rand.New(rand.NewPCG(seed, 0)), 2, 0, leat.Config{ID: "shop", Shards: leat.EvenShards(2)})
		a.store.calls = 0
		ctx, cancel := context.WithCancelCause(t.Context())
		a.store.fail = func(call int) (before, after error) {
			switch {
			case call != n:
			case n%3 == 0:
				return interrupted, nil
			case n%3 == 1:
				return nil, interrupted
			default:
				cancel(interrupted)
			}
			return nil, nil
		}
		_, err := archive.Retain(ctx, a.Log, a.store, archive.RetainOptions{Age: day / 2})
		if survived = a.store.calls < n; !survived && !errors.Is(err, interrupted) && !errors.Is(err, context.Canceled) {
			t.Fatalf("call %d: %v, want it interrupted", n, err)
		}
		cancel(nil)
		a.store.fail = nil
		a.check(t)
		a.retain(t, archive.RetainOptions{Age: day / 2})
		a.check(t)
		if s := a.shards(t)[0]; s.Oldest == 1 {
			t.Fatalf("call %d: nothing is gone in the end", n)
		}
	}

	a := newAged(t, rand.New(rand.NewPCG(seed, 0)), 2, 0, leat.Config{ID: "shop", Shards: leat.EvenShards(2)})
	for n := range 5 {
		log := &untrimmed{Log: a.Log, after: n, err: interrupted}
		if report, err := archive.Retain(t.Context(), log, a.store, archive.RetainOptions{Age: day / 2}); n < 4 && !errors.Is(err, interrupted) || n == 4 && err != nil {
			t.Errorf("trim %d fails: %+v, %v", n, report, err)
		}
		a.check(t)
	}
}

// An untrimmed log fails at one of its trims.
type untrimmed struct {
	*leattest.Log
	after int
	err   error
}

func (l *untrimmed) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	if l.after--; l.after < 0 {
		return 0, l.err
	}
	return l.Log.Trim(ctx, shard, below)
}

// A clock that jumps makes events older or younger than they are. It never makes
// more of them go than are archived, nor out of order.
func TestRetainClockJumps(t *testing.T) {
	rng := seeded(t)
	a := newAged(t, rng, 3, 0, leat.Config{})
	a.clock = a.clock.Add(365 * day) // ahead
	a.day(t, rng)
	a.clock = a.clock.Add(-367 * day) // and behind: At goes on where it was
	a.day(t, rng)
	flush(t, a.archiver(t), a.Log)
	a.all = a.read(t)
	r := a.retain(t, archive.RetainOptions{Age: time.Nanosecond})[0]
	a.check(t)
	if r.Oldest < 100 || r.Oldest > 121 {
		t.Errorf("%+v, want kept what was committed a year ahead, from 121 on, and before that only what is in one segment with it", r)
	}
	if r := a.retain(t, archive.RetainOptions{Bytes: 1})[0]; r.Oldest != r.Archived+1 {
		t.Errorf("by bytes: %+v, want all gone that is archived", r)
	}
	a.check(t)
}

func TestRetainOptionsAreChecked(t *testing.T) {
	a := newAged(t, seeded(t), 1, 0, leat.Config{})
	for _, o := range []archive.RetainOptions{{}, {Age: -1}, {Bytes: -1}, {Age: 1, Bytes: -1}} {
		if _, err := archive.Retain(t.Context(), a.Log, a.store, o); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", o, err)
		}
	}
	onlyLog := struct{ leat.Log }{a.Log}
	if _, err := archive.Retain(t.Context(), onlyLog, a.store, archive.RetainOptions{Age: 1}); !errors.Is(err, leat.ErrUnsupported) {
		t.Errorf("a log that cannot be trimmed: %v, want ErrUnsupported", err)
	}
}
