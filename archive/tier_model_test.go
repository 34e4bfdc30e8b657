package archive_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
)

// A tierModel is a log that is written, split, archived, compacted and trimmed
// while it is read through a tier. What is trimmed is copied before, so that all
// that was read can be compared with what the log held.
type tierModel struct {
	testing.TB
	log     *engine.Log
	tier    leat.Log
	store   archive.Store
	options archive.CompactOptions

	mu       sync.Mutex
	rng      *rand.Rand
	now      time.Time
	versions map[string]uint64 // of streams, acknowledged
	seen     []leat.Recorded
	copied   map[leat.ShardID][]leat.Recorded
}

const modelAppends = 120 // of each writer

// everything selects all events, the system's included.
var everything = leat.Filter{System: true}

func TestTierModel(t *testing.T) {
	t.Parallel()
	m := &tierModel{
		TB: t, rng: seeded(t), store: newMemoryStore(), now: time.Date(2026, 1, 30, 5, 0, 0, 0, time.UTC),
		options: options(t), versions: make(map[string]uint64), copied: make(map[leat.ShardID][]leat.Recorded),
	}
	var err error
	m.log, err = engine.Create("log", leat.Config{ID: "shop", Shards: leat.EvenShards(2)},
		engine.Options{FS: vfs.NewMem(), GenerationEvents: 50, Clock: m.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer m.log.Close()
	m.tier = archive.LazyTier(m.log, func(ctx context.Context) (*archive.Archive, error) {
		return archive.Open(ctx, m.store, "shop")
	})

	writing, written := context.WithCancel(t.Context())
	defer written()
	loop := func(f func(context.Context) error) func() error {
		return func() error {
			for writing.Err() == nil {
				if err := f(t.Context()); err != nil {
					return err
				}
			}
			return f(t.Context()) // once more, when all is written
		}
	}
	archiver := newArchiver(t, m.log, m.store)
	var writers, others errgroup.Group
	for range 3 {
		writers.Go(m.write)
	}
	writers.Go(m.split)
	others.Go(loop(func(ctx context.Context) error { return m.archive(ctx, archiver) }))
	others.Go(loop(m.trim))
	for range 2 {
		others.Go(loop(m.read))
		others.Go(loop(m.readStreams))
		others.Go(loop(m.scan))
	}
	for range 3 {
		others.Go(func() error { return m.follow(writing) })
	}
	err = writers.Wait()
	written()
	appendOne(t, m.log, "order-1") // so that who follows the log looks up
	if err := errors.Join(err, others.Wait()); err != nil {
		t.Fatal(err)
	}
	m.compare()
}

// clock goes on by some minutes each time.
func (m *tierModel) clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(time.Duration(m.rng.IntN(1000)) * time.Second)
	return m.now
}

func (m *tierModel) intN(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.IntN(n)
}

func (m *tierModel) write() error {
	for range modelAppends {
		events := make([]leat.Event, 1+m.intN(4))
		m.mu.Lock()
		stream := fmt.Sprintf("order-%d", m.rng.IntN(12))
		for i := range events {
			events[i] = awkward(m.rng, stream)
		}
		m.mu.Unlock()
		r, err := m.log.Append(m.Context(), events)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.versions[stream] = max(m.versions[stream], slices.Max(r.Versions))
		m.mu.Unlock()
	}
	return nil
}

// split splits a shard now and then, as often as a quarter of the events that one
// writer writes.
func (m *tierModel) split() error {
	for n := range 4 {
		for {
			shards, err := m.log.Shards(m.Context())
			if err != nil {
				return err
			}
			var head uint64
			for _, s := range shards {
				head += s.Head
			}
			if head > uint64((n+1)*modelAppends) {
				break
			}
			if _, err := m.log.ReadShard(m.Context(), shards[len(shards)-1].ID, shards[len(shards)-1].Head, leat.ReadOptions{Wait: 10 * time.Millisecond}); err != nil {
				return err
			}
		}
		splitFirst(m.TB, m.log)
	}
	return nil
}

func (m *tierModel) archive(ctx context.Context, archiver *archive.Archiver) error {
	to, err := leat.Start(ctx, m.log, leat.Now)
	if err == nil {
		err = archiver.Flush(ctx, to)
	}
	if err != nil || m.intN(4) > 0 {
		return err
	}
	a, err := archive.Open(ctx, m.store, "shop")
	if err == nil {
		_, err = a.Compact(ctx, m.options)
	}
	return err
}

// trim trims each shard as far as it is archived, or less, and copies that before.
func (m *tierModel) trim(ctx context.Context) error {
	a, err := archive.Open(ctx, m.store, "shop")
	if errors.Is(err, leat.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ends, err := a.Ends(ctx)
	if err != nil {
		return err
	}
	for _, end := range ends {
		s := end.Checkpoint
		below := s.Size + 1
		if m.intN(2) == 0 {
			below -= min(below, uint64(m.intN(20)))
		}
		if err := m.copy(ctx, s.Shard, below); err != nil {
			return err
		}
		_, err := m.log.Trim(ctx, s.Shard, below)
		if errors.Is(err, leat.ErrInvalid) {
			continue // its parents keep events
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy copies the events of a shard below a sequence that are not copied yet.
func (m *tierModel) copy(ctx context.Context, shard leat.ShardID, below uint64) error {
	for copied := m.copied[shard]; uint64(len(copied))+1 < below; copied = m.copied[shard] {
		b, err := m.log.ReadShard(ctx, shard, uint64(len(copied)), leat.ReadOptions{Filter: everything})
		if err != nil {
			return err
		}
		m.copied[shard] = append(copied, b.Events...)
	}
	return nil
}

// read reads everything up to the heads.
func (m *tierModel) read(ctx context.Context) error {
	heads, err := leat.Start(ctx, m.log, leat.Now)
	if err != nil {
		return err
	}
	next := leat.Checkpoint{}
	for e, err := range leat.Read(ctx, m.tier, everything, leat.Checkpoint{}) {
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if err := m.saw(&next, e); err != nil {
			return err
		}
	}
	for shard, head := range heads.Seqs {
		if next.Seqs[shard] < head {
			return fmt.Errorf("read ended %s at %d, want %d at least", shard, next.Seqs[shard], head)
		}
	}
	return nil
}

// scan shows itself all of each shard.
func (m *tierModel) scan(ctx context.Context) error {
	shards, err := m.tier.Shards(ctx)
	if err != nil {
		return err
	}
	next := leat.Checkpoint{}
	for _, s := range shards {
		o := leat.ReadOptions{Filter: everything, Limit: 1 + m.intN(100)}
		for after := uint64(0); after < s.Head; {
			b, err := m.tier.(leat.Scanner).ScanShard(ctx, s.ID, after, o, func(e *leat.Recorded) error {
				return m.saw(&next, cloned(e))
			})
			if err != nil {
				return fmt.Errorf("scan %s after %d: %w", s.ID, after, err)
			}
			if after = b.Next; after != next.Seqs[s.ID] {
				return fmt.Errorf("scan %s: it says that it ended at %d, and showed %d", s.ID, after, next.Seqs[s.ID])
			}
		}
	}
	return nil
}

// saw notes an event, which has to be the next of its shard.
func (m *tierModel) saw(c *leat.Checkpoint, e leat.Recorded) error {
	if want := c.Seqs[e.Shard] + 1; e.Seq != want {
		return fmt.Errorf("%s: sequence %d comes where %d should", e.Shard, e.Seq, want)
	}
	c.Set(e.Shard, e.Seq)
	m.note(e)
	return nil
}

func (m *tierModel) note(e leat.Recorded) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, e)
}

// follow reads everything until all is written and it has come to the heads.
func (m *tierModel) follow(writing context.Context) error {
	next := leat.Checkpoint{}
	var heads leat.Checkpoint
	for b, err := range leat.Follow(m.Context(), m.tier, everything, leat.Checkpoint{}) {
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		for _, e := range b.Events {
			if err := m.saw(&next, e); err != nil {
				return err
			}
		}
		if heads.IsZero() && writing.Err() != nil {
			if heads, err = leat.Start(m.Context(), m.log, leat.Now); err != nil {
				return err
			}
		}
		there := !heads.IsZero()
		for shard, head := range heads.Seqs {
			there = there && next.Seqs[shard] >= head
		}
		if there {
			return nil
		}
	}
	return nil
}

// readStreams reads each stream, forwards or backwards: all that was acknowledged
// is there, without a hole.
func (m *tierModel) readStreams(ctx context.Context) error {
	m.mu.Lock()
	versions := make(map[string]uint64)
	for stream, v := range m.versions {
		versions[stream] = v
	}
	m.mu.Unlock()
	for stream, acknowledged := range versions {
		r := leat.Range{After: uint64(m.intN(int(acknowledged)))}
		if m.intN(2) == 0 {
			r = r.Reverse()
		}
		var got []leat.Recorded
		for e, err := range m.tier.ReadStream(ctx, stream, r) {
			if err != nil {
				return fmt.Errorf("read stream %q, %+v, after %d events: %w", stream, r, len(got), err)
			}
			got = append(got, e)
			m.note(e)
		}
		if r.Reversed() {
			slices.Reverse(got)
		}
		for i, e := range got {
			if e.Version != r.After+uint64(i)+1 || e.Stream != stream {
				return fmt.Errorf("read stream %q, %+v: event %d is version %d of %q", stream, r, i, e.Version, e.Stream)
			}
		}
		if r.After+uint64(len(got)) < acknowledged {
			return fmt.Errorf("read stream %q, %+v: it ends at %d, want %d at least", stream, r, r.After+uint64(len(got)), acknowledged)
		}
	}
	return nil
}

// compare compares all that was read with what the log held.
func (m *tierModel) compare() {
	shards, err := m.log.Shards(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	trimmed := uint64(0)
	for _, s := range shards {
		trimmed += s.Oldest - 1
		if err := m.copy(m.Context(), s.ID, s.Head+1); err != nil {
			m.Fatal(err)
		}
	}
	for _, e := range m.seen {
		want := m.copied[e.Shard][e.Seq-1]
		if !reflect.DeepEqual(normal(e), normal(want)) {
			m.Fatalf("read\n%+v, want\n%+v", e, want)
		}
	}
	if trimmed == 0 {
		m.Error("nothing was trimmed")
	}
	m.Logf("%d shards, %d events trimmed, %d events read", len(shards), trimmed, len(m.seen))
}
