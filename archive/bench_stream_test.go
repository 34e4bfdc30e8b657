package archive_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

var yearEvents = flag.Int("year-events", 200_000, "events of the year that BenchmarkColdStream loads a stream from")

// spread makes a year of a log: its events lie in 365 days, and 20 of them are of
// a stream of their own, on 20 days.
func spread(log *orderLog, name string) {
	begin, n := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), len(log.events)
	version := uint64(0)
	for i := range log.events {
		e := &log.events[i]
		e.At = begin.Add(time.Duration(float64(i) / float64(n) * float64(365*24*time.Hour))).Add(time.Duration(i))
		if i%(n/20) == n/40 {
			version++
			e.Stream, e.Version = name, version
		}
	}
}

// BenchmarkColdStream loads a stream of 20 events that are spread over a year, from
// a directory, with an archive that was just opened ("cold"), and again with what
// that keeps in memory ("warm").
//
//	go test ./archive -run '^$' -bench ColdStream -year-events 10000000
func BenchmarkColdStream(b *testing.B) {
	const name = "ledger-77"
	store := &countingStore{Store: openStore(b, b.TempDir())}
	log := newOrderLog(*yearEvents)
	spread(log, name)
	flush(b, newDefaultArchiver(b, log, store), log)
	began := time.Now()
	r, err := openArchive(b, store, log).Compact(b.Context(), archive.CompactOptions{Key: testKey(b), TempDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("compacted %+v in %v", r, time.Since(began).Round(time.Millisecond))
	var a *archive.Archive
	load := func(b *testing.B) {
		n := 0
		for e, err := range a.Stream(b.Context(), name, leat.Range{}) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; e.Version != uint64(n) {
				b.Fatalf("version %d, want %d", e.Version, n)
			}
		}
		if n != 20 {
			b.Fatalf("%d events, want 20", n)
		}
	}
	for _, cold := range []bool{true, false} {
		b.Run(map[bool]string{true: "cold", false: "warm"}[cold], func(b *testing.B) {
			a = openArchive(b, store, log)
			load(b)
			store.gets.Store(0)
			store.bytes.Store(0)
			for b.Loop() {
				if cold {
					a = openArchive(b, store, log)
				}
				load(b)
			}
			b.ReportMetric(float64(store.gets.Load())/float64(b.N), "GETs/op")
			b.ReportMetric(float64(store.bytes.Load())/float64(b.N)/1e6, "MB-read/op")
		})
	}
}

// BenchmarkTier replays a log of which only the archive has the events, in batches
// of 1,000 that are the reader's to keep, or shown.
func BenchmarkTier(b *testing.B) {
	log, store := newOrderLog(200_000), newMemoryStore()
	flush(b, newDefaultArchiver(b, log, store), log)
	tier := archive.Tier(allTrimmed{log}, openArchive(b, store, log))
	replay := func(b *testing.B, read func(after uint64) (leat.Batch, error)) {
		for b.Loop() {
			for after := uint64(0); after < log.shard.Head; {
				batch, err := read(after)
				if err != nil {
					b.Fatal(err)
				}
				after = batch.Next
			}
		}
		perEvent(b, log)
	}
	b.Run("read", func(b *testing.B) {
		replay(b, func(after uint64) (leat.Batch, error) {
			return tier.ReadShard(b.Context(), log.shard.ID, after, leat.ReadOptions{})
		})
	})
	b.Run("scan", func(b *testing.B) {
		nothing := func(*leat.Recorded) error { return nil }
		replay(b, func(after uint64) (leat.Batch, error) {
			return tier.(leat.Scanner).ScanShard(b.Context(), log.shard.ID, after, leat.ReadOptions{}, nothing)
		})
	})
}

// allTrimmed is an orderLog that keeps nothing.
type allTrimmed struct{ *orderLog }

func (l allTrimmed) Shards(context.Context) ([]leat.Shard, error) {
	s := l.shard
	s.Oldest = s.Head + 1
	return []leat.Shard{s}, nil
}

func (l allTrimmed) ReadShard(_ context.Context, shard leat.ShardID, after uint64, _ leat.ReadOptions) (leat.Batch, error) {
	if after < l.shard.Head {
		return leat.Batch{}, &leat.TrimmedError{Shard: shard, Oldest: l.shard.Head + 1}
	}
	return leat.Batch{Shard: shard, Epoch: 1, Next: after, Head: l.shard.Head}, nil
}

func (l allTrimmed) ScanShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, _ func(*leat.Recorded) error) (leat.Batch, error) {
	return l.ReadShard(ctx, shard, after, o)
}
