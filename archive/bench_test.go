package archive_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// BenchmarkArchive archives orders into memory. Its MB/s are bytes of events,
// ratio is bytes of events by bytes of segments.
func BenchmarkArchive(b *testing.B) {
	log := newOrderLog(200_000)
	for b.Loop() {
		a := newDefaultArchiver(b, log, newMemoryStore())
		if err := a.Flush(b.Context(), log.head()); err != nil {
			b.Fatal(err)
		}
		s, err := a.Status(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(log.bytes)/float64(s.Bytes), "ratio")
	}
	perEvent(b, log)
}

// BenchmarkRead reads the same back, verified.
func BenchmarkRead(b *testing.B) {
	log, store := newOrderLog(200_000), newMemoryStore()
	flush(b, newDefaultArchiver(b, log, store), log)
	a := openArchive(b, store, log)
	for b.Loop() {
		n := 0
		for _, err := range a.Events(b.Context(), log.shard.ID, 0) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != len(log.events) {
			b.Fatalf("%d events, want %d", n, len(log.events))
		}
	}
	perEvent(b, log)
}

func newDefaultArchiver(b testing.TB, log leat.Log, store archive.Store) *archive.Archiver {
	b.Helper()
	a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(b)})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func perEvent(b *testing.B, log *orderLog) {
	b.SetBytes(log.bytes)
	b.ReportAllocs()
	b.ReportMetric(float64(len(log.events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// An orderLog is a log of one shard that hands out the same memory again and
// again, so that only the archive is measured.
type orderLog struct {
	leat.Log

	info   leat.Info
	shard  leat.Shard
	events []leat.Recorded
	bytes  int64
}

// newOrderLog returns n events of orders with UUIDv7 IDs, three attributes and
// some 250 bytes of JSON.
func newOrderLog(n int) *orderLog {
	rng := rand.New(rand.NewPCG(1, 2))
	info, shards, err := leat.Config{ID: "bench"}.New(time.Unix(1e9, 0))
	if err != nil {
		panic(err)
	}
	l := &orderLog{info: info, shard: shards[0]}
	versions := make(map[string]uint64)
	words := []string{"CREAM CUPID HEARTS COAT HANGER", "WHITE METAL LANTERN", "RED WOOLLY HOTTIE", "JUMBO BAG RED RETROSPOT", "PARTY BUNTING"}
	countries := []string{"United Kingdom", "Germany", "France", "EIRE"}
	types := []string{"OrderPlaced", "OrderConfirmed", "StockReserved", "InvoiceIssued", "PaymentCaptured"}
	for i := range n {
		order := 536365 + i/len(types)
		stream := fmt.Sprintf("order-%d", order)
		versions[stream]++
		data := fmt.Sprintf(`{"order":"%d","customer":"%d","country":%q,"lines":[{"sku":"%d%c","description":%q,"quantity":%d,"price":%d},{"sku":"%d","description":%q,"quantity":%d,"price":%d}],"total":%d}`,
			order, 12346+rng.IntN(5000), countries[rng.IntN(4)], 10000+rng.IntN(4000), 'A'+rng.IntN(5), words[rng.IntN(5)], 1+rng.IntN(24), 10*rng.IntN(900),
			10000+rng.IntN(4000), words[rng.IntN(5)], 1+rng.IntN(24), 10*rng.IntN(900), rng.IntN(100000))
		at := time.Unix(1e9, int64(i)*25_000+int64(rng.IntN(20_000))).UTC()
		l.events = append(l.events, leat.Recorded{
			Event: leat.Event{
				ID: leat.NewID(), Stream: stream, Type: types[i%len(types)], Source: "orders", Time: at.Add(-time.Millisecond),
				ContentType: "application/json", Data: []byte(data),
				Meta: leat.NewMeta("causationid", leat.NewID(), "correlationid", fmt.Sprint(order), "traceparent",
					fmt.Sprintf("00-%016x%016x-%016x-01", rng.Uint64(), rng.Uint64(), rng.Uint64())),
			},
			Shard: l.shard.ID, Seq: uint64(i + 1), Commit: uint64(i + 1), Version: versions[stream], At: at,
		})
		l.bytes += int64(l.events[i].Size())
	}
	l.shard.Head = uint64(n)
	return l
}

func (l *orderLog) head() leat.Checkpoint {
	return leat.Checkpoint{Log: l.info.ID, Epoch: 1, Seqs: map[leat.ShardID]uint64{l.shard.ID: l.shard.Head}}
}

func (l *orderLog) Info(context.Context) (leat.Info, error)      { return l.info, nil }
func (l *orderLog) Shards(context.Context) ([]leat.Shard, error) { return []leat.Shard{l.shard}, nil }

func (l *orderLog) ReadShard(_ context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	next := min(after+uint64(o.Limit), l.shard.Head)
	return leat.Batch{Shard: shard, Epoch: 1, Events: l.events[after:next], Next: next, Head: l.shard.Head}, nil
}

// BenchmarkVerify verifies the same and more, in segments of 16 MiB.
func BenchmarkVerify(b *testing.B) {
	log, store := newOrderLog(500_000), newMemoryStore()
	a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(b), SegmentBytes: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	flush(b, a, log)
	for b.Loop() {
		r, err := archive.Verify(b.Context(), store, "bench", archive.VerifyOptions{})
		if err != nil || len(r.Problems) > 0 || r.Events != uint64(len(log.events)) {
			b.Fatalf("%v: %+v", err, r)
		}
	}
	perEvent(b, log)
}
