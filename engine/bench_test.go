package engine_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// benchEvent is the default event of the project's benchmarks: 256 bytes of
// Data, a UUIDv7, a stream name of 20 bytes, three attributes.
func benchEvent(stream int64) leat.Event {
	return leat.Event{
		Stream: fmt.Sprintf("bench-%014d", stream), Type: "OrderPlaced", Source: "bench", Data: benchData,
		Meta: leat.Meta{
			{Key: leat.MetaCausation, Value: "0199f3c0-0000-7000-8000-000000000000"},
			{Key: leat.MetaCorrelation, Value: "0199f3c0-0000-7000-8000-000000000001"},
			{Key: "tenant", Value: "a"},
		},
	}
}

var benchData = func() []byte {
	data := make([]byte, 256)
	for i := range data {
		data[i] = "0123456789abcdef"[(i*i*7+i)%16]
	}
	return data
}()

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		producers, batch int
		name             string
		stream           func(producer int, n int64) int64 // of the n-th Append
	}{
		{1, 1, "new streams", func(_ int, n int64) int64 { return n }},
		{256, 1, "new streams", func(_ int, n int64) int64 { return n }},
		{256, 1, "one stream a producer", func(p int, _ int64) int64 { return int64(p) }},
		{8, 500, "one stream a producer", func(p int, _ int64) int64 { return int64(p) }},
		{8, 500, "new streams", func(_ int, n int64) int64 { return n }},
	} {
		b.Run(fmt.Sprintf("%dx%d/%s", c.producers, c.batch, c.name), func(b *testing.B) {
			l, err := engine.Create(b.TempDir(), leat.Config{}, engine.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer closeLog(b, l)
			var done atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for p := range c.producers {
				wg.Go(func() {
					for {
						n := done.Add(1)
						if (n-1)*int64(c.batch) >= int64(b.N) {
							return
						}
						events := make([]leat.Event, c.batch)
						for i := range events {
							events[i] = benchEvent(c.stream(p, n))
						}
						if _, err := l.Append(b.Context(), events); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(l.Stats().Groups), "events/group")
		})
	}
}

// filled returns a log of n events in streams of 20, appended in rounds so that
// a stream's events lie far apart.
func filled(b *testing.B, n int) *engine.Log {
	b.Helper()
	l, err := engine.Create(b.TempDir(), leat.Config{}, engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeLog(b, l) })
	streams := n / 20
	for range 20 {
		for s := 0; s < streams; s += 500 {
			events := make([]leat.Event, min(500, streams-s))
			for i := range events {
				events[i] = benchEvent(int64(s + i))
			}
			appendSingly(b, l, events)
		}
	}
	return l
}

// appendSingly appends events of different route keys, concurrently.
func appendSingly(b *testing.B, l *engine.Log, events []leat.Event) {
	b.Helper()
	var wg sync.WaitGroup
	for i := range events {
		wg.Go(func() {
			if _, err := l.Append(b.Context(), events[i:i+1]); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkReplay(b *testing.B) {
	l := filled(b, 200_000)
	shards, err := l.Shards(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var after uint64
	for n := 0; n < b.N; {
		batch, err := l.ReadShard(b.Context(), shards[0].ID, after, leat.ReadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		n += len(batch.Events)
		if after = batch.Next; after == batch.Head {
			after = 0
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkLoadStream(b *testing.B) {
	l := filled(b, 200_000)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		n := 0
		for _, err := range l.ReadStream(b.Context(), benchEvent(int64(i*7919%10_000)).Stream, leat.Range{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 20 {
			b.Fatalf("the stream has %d events, want 20", n)
		}
	}
}
