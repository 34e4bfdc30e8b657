package bench_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/bench"
	"github.com/leathq/leat/leattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(t *testing.T, shards int) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(shards)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func workload() bench.Workload {
	return bench.Workload{Producers: 3, Pipeline: 2, Batch: 7, Size: 100, IDs: bench.UUIDv7, Sources: 2, Conditions: true}
}

// recorded returns the events that a log holds.
func recorded(t *testing.T, log leat.Log) []leat.Recorded {
	t.Helper()
	var all []leat.Recorded
	for r, err := range leat.Read(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestProducers(t *testing.T) {
	for _, streams := range []bench.Streams{bench.NewStreams, bench.OneStream, 6, 100} {
		t.Run(streams.String(), func(t *testing.T) {
			log := newLog(t, 4)
			w := workload()
			w.Streams = streams
			p := bench.NewProducers(w, log, log)
			for _, events := range []uint64{1000, 1, 6} { // of the last Append not all
				f, err := p.Run(t.Context(), events, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				if f.Events != events || f.Calls != (events+6)/7 || f.Calls != f.Latency.Count() || f.DataBytes != 100*events {
					t.Errorf("of %d events: %d events in %d calls, %d latencies, %d bytes", events, f.Events, f.Calls, f.Latency.Count(), f.DataBytes)
				}
				if f.Elapsed <= 0 || f.EventBytes < 200 || f.Rate() <= 0 {
					t.Errorf("of %d events: took %v, %+v, %v bytes each", events, f.Elapsed, f.Usage, f.EventBytes)
				}
			}
			if n := len(recorded(t, log)); n != 1007 || p.Done() != 1007 {
				t.Errorf("%d events are recorded, %d are said to be, want 1007", n, p.Done())
			}
		})
	}
}

func TestProducersEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, 1)
		w := workload()
		w.Rate = 1000
		began := time.Now()
		f, err := bench.NewProducers(w, log).Run(t.Context(), 0, 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
		if f.Events < 1990 || f.Events > 2010 {
			t.Errorf("%d events at 1,000 per second in 2 s", f.Events)
		}
	})
}

// A slow log cannot hide behind producers that wait for it: latency counts from
// when an Append was due.
func TestRateCountsFromDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bench.Workload{Producers: 1, Pipeline: 1, Batch: 1, Size: 10, IDs: bench.TextID, Sources: 1, Rate: 100}
		f, err := bench.NewProducers(w, slow{newLog(t, 1), 20 * time.Millisecond}).Run(t.Context(), 100, 0)
		if err != nil {
			t.Fatal(err)
		}
		// Each Append takes twice as long as there is until the next one is due, so
		// the last is 99 × 10 ms late.
		if last := f.Latency.Quantile(1); last < 1010*time.Millisecond || last > 1030*time.Millisecond {
			t.Errorf("the longest latency is %v, want 1.01 s", last)
		}
	})
}

// slow is a log whose Append takes its time.
type slow struct {
	leat.Log
	takes time.Duration
}

func (s slow) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	time.Sleep(s.takes) // of a synctest bubble
	return s.Log.Append(ctx, events, conds...)
}

func TestProducersFail(t *testing.T) {
	full := failing{newLog(t, 1)}
	if _, err := bench.NewProducers(workload(), full).Run(t.Context(), 1000, 0); !errors.Is(err, leat.ErrFull) {
		t.Errorf("appending to a full log: %v, want %v", err, leat.ErrFull)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bench.NewProducers(workload(), newLog(t, 1)).Run(ctx, 0, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("appending when cancelled: %v", err)
	}
	if _, err := bench.Follow(t.Context(), bench.NewProducers(workload(), full), 1000, 0, full); !errors.Is(err, leat.ErrFull) {
		t.Errorf("following a full log: %v, want %v", err, leat.ErrFull)
	}
}

type failing struct{ leat.Log }

func (failing) Append(context.Context, []leat.Event, ...leat.Condition) (leat.Receipt, error) {
	return leat.Receipt{}, leat.ErrFull
}

func TestFollow(t *testing.T) {
	log := newLog(t, 3)
	before := bench.NewProducers(workload(), log)
	if _, err := before.Run(t.Context(), 50, 0); err != nil { // which the followers are not to count
		t.Fatal(err)
	}
	w := workload()
	w.Stamp = true
	f, err := bench.Follow(t.Context(), bench.NewProducers(w, log), 1000, 0, log, log)
	if err != nil {
		t.Fatal(err)
	}
	if f.Appended.Events != 1000 || f.Seen.Events != 1000 || f.Seen.Latency.Count() != 2000 || f.SinceMade.Count() != 2000 {
		t.Errorf("%d appended, %d seen, %d and %d latencies; want 1000, and 2000 latencies of two followers",
			f.Appended.Events, f.Seen.Events, f.Seen.Latency.Count(), f.SinceMade.Count())
	}
	if most := f.SinceMade.Quantile(1); most > time.Minute {
		t.Errorf("an event took %v to be seen: it does not say when it was made", most)
	}
}

func TestReplay(t *testing.T) {
	log := newLog(t, 3)
	if _, err := bench.NewProducers(workload(), log).Run(t.Context(), 5000, 0); err != nil {
		t.Fatal(err)
	}
	var done uint64
	r := bench.Replay{Log: log, API: bench.ReadAPI, Done: func(n uint64) { done += n }}
	f, err := r.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Events != 5000 || done != 5000 || f.DataBytes != 500_000 || f.Calls != f.Latency.Count() || f.EventBytes < 200 {
		t.Errorf("%d events, %d told, %d bytes, %d calls, %d latencies, %v bytes each", f.Events, done, f.DataBytes, f.Calls, f.Latency.Count(), f.EventBytes)
	}
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Shard = shards[1].ID
	if f, err = r.Round(t.Context()); err != nil || f.Events != shards[1].Head {
		t.Errorf("one shard: %v events, %v; want %d", f, err, shards[1].Head)
	}
	r.Shard = "shardId-000000000009"
	if _, err = r.Round(t.Context()); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("a shard that is not there: %v, want %v", err, leat.ErrNotFound)
	}
	var invalid *leat.InvalidError
	if _, err = (bench.Replay{Log: log, API: bench.ScanAPI}).Round(t.Context()); !errors.As(err, &invalid) || invalid.Field != "--api" {
		t.Errorf("a log that cannot scan: %v", err)
	}
	scanned, err := bench.Replay{Log: scanning{log}, API: bench.ScanAPI}.Round(t.Context())
	if err != nil || scanned.Events != 5000 || scanned.DataBytes != 500_000 {
		t.Errorf("a log that scans: %+v, %v", scanned, err)
	}
}

// scanning is a leat.Scanner.
type scanning struct{ *leattest.Log }

var _ leat.Scanner = scanning{}

func (s scanning) ScanShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error) (leat.Batch, error) {
	b, err := s.ReadShard(ctx, shard, after, o)
	for i := range b.Events {
		if err := visit(&b.Events[i]); err != nil {
			return b, err
		}
	}
	b.Events = nil
	return b, err
}

// A log that loses an event does not get figures.
func TestReplayFindsHoles(t *testing.T) {
	log := newLog(t, 1)
	if _, err := bench.NewProducers(workload(), log).Run(t.Context(), 100, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := (bench.Replay{Log: forgetful{log}}).Round(t.Context()); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("replay of a log without its tenth event: %v, want %v", err, leat.ErrCorrupt)
	}
}

type forgetful struct{ leat.Log }

func (f forgetful) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	b, err := f.Log.ReadShard(ctx, shard, after, o)
	if err == nil {
		b.Events = append(b.Events[:9:9], b.Events[10:]...)
	}
	return b, err
}

func TestLoad(t *testing.T) {
	log := newLog(t, 2)
	w := workload()
	w.Streams = 30
	if _, err := bench.NewProducers(w, log).Run(t.Context(), 7000, 0); err != nil {
		t.Fatal(err)
	}
	perStream := map[string]int{}
	for _, r := range recorded(t, log) {
		perStream[r.Stream]++
	}
	for n, want := range map[int]int{0: len(perStream), 5: 5, 1000: len(perStream)} {
		names, err := bench.StreamsOf(t.Context(), log, n, nil)
		if err != nil || len(names) != want {
			t.Fatalf("%d streams asked for, got %d, %v; want %d", n, len(names), err, want)
		}
		for _, name := range names {
			if perStream[name] == 0 {
				t.Fatalf("the log has no stream %q", name)
			}
		}
	}
	if names, err := bench.StreamsOf(t.Context(), scanning{log}, 0, nil); err != nil || len(names) != len(perStream) {
		t.Fatalf("scanning, got %d streams, %v; want %d", len(names), err, len(perStream))
	}
	names, err := bench.StreamsOf(t.Context(), log, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := bench.Load{Log: log, Streams: names, Goroutines: 3}.Run(t.Context(), 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(100 * perStream[names[0]]); f.Calls != 100 || f.Latency.Count() != 100 || f.Events != want || f.DataBytes != 100*want {
		t.Errorf("%d streams, %d latencies, %d events, %d bytes; want 100 and %d events", f.Calls, f.Latency.Count(), f.Events, f.DataBytes, want)
	}
	if _, err = (bench.Load{Log: log, Streams: []string{"order-none"}, Goroutines: 1}).Run(t.Context(), 1, 0); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("a stream that has gone: %v, want %v", err, leat.ErrCorrupt)
	}
}

func TestCeilings(t *testing.T) {
	dir := t.TempDir()
	g := bench.Grouping{Groups: 20, Events: 50, Bytes: 20_000}
	c, err := bench.WriteCeiling(t.Context(), dir, g, 1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Latency.Count() != 8 || c.Bytes != 8*1000 || c.Events != 8*2.5 || c.Rate() != 20/c.Elapsed.Seconds() {
		t.Errorf("without time, the ceiling of %+v wrote %d bytes, %v events, %d groups, %v/s in %v; want 8 groups", g, c.Bytes, c.Events, c.Latency.Count(), c.Rate(), c.Elapsed)
	}
	if c, err = bench.WriteCeiling(t.Context(), dir, g, 50*time.Millisecond); err != nil || c.Elapsed < 50*time.Millisecond {
		t.Errorf("with 50 ms the ceiling took %v, %v", c.Elapsed, err)
	}
	r, err := bench.ReadCeiling(t.Context(), dir, 10_000, 300, 1)
	if err != nil || r.Bytes != 3_000_000 || r.Events != 10_000 {
		t.Errorf("the ceiling of reading 10,000 events of 300 bytes: %+v, %v", r, err)
	}
	for name, f := range map[string]func(context.Context) error{
		"nothing written": func(ctx context.Context) error {
			_, err := bench.WriteCeiling(ctx, dir, bench.Grouping{}, 1)
			return err
		},
		"nothing read": func(ctx context.Context) error {
			_, err := bench.ReadCeiling(ctx, dir, 0, 0, 1)
			return err
		},
		"no directory": func(ctx context.Context) error {
			_, err := bench.WriteCeiling(ctx, dir+"/none", g, 1)
			return err
		},
	} {
		if err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "ceiling") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPeakForgets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux forgets the peak of memory")
	}
	bench.ForgetMemory()
	before := bench.PeakBytes()
	const more = 64 << 20
	memory := make([]byte, more)
	for i := range memory {
		memory[i] = byte(i)
	}
	runtime.KeepAlive(memory)
	if grown := bench.PeakBytes(); before <= 0 || grown < before+more/2 {
		t.Errorf("with 64 MiB more, the peak went from %d to %d", before, grown)
	}
	bench.ForgetMemory()
	if after := bench.PeakBytes(); after > before+more/2 {
		t.Errorf("with 64 MiB given back, the peak is %d; before it was %d", after, before)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		change func(*bench.Workload)
		field  string
		limit  string
	}{
		{func(w *bench.Workload) { w.Producers = 0 }, "--producers", "1 to "},
		{func(w *bench.Workload) { w.Pipeline = -1 }, "--pipeline", "1 to "},
		{func(w *bench.Workload) { w.Producers, w.Pipeline = 1000, 1000 }, "--producers times --pipeline", "1 to "},
		{func(w *bench.Workload) { w.Batch = 501 }, "--batch", "1 to 500"},
		{func(w *bench.Workload) { w.Size = 256 << 10 }, "--size", fmt.Sprintf("0 to %d", 255<<10+768)},
		{func(w *bench.Workload) { w.Batch, w.Size = 500, 2000 }, "--batch times --size and the other fields", "1048576"},
		{func(w *bench.Workload) { w.Sources = 0 }, "--sources", "1 to "},
		{func(w *bench.Workload) { w.Streams = 5 }, "--streams", "at least 6"},
		{func(w *bench.Workload) { w.Rate = -1 }, "--rate", "events per second"},
	} {
		w := workload()
		c.change(&w)
		var invalid *leat.InvalidError
		if err := w.Check(leat.MinLimits); !errors.As(err, &invalid) || invalid.Field != c.field || !strings.Contains(invalid.Limit, c.limit) {
			t.Errorf("got %v, want an error of %s with %q", err, c.field, c.limit)
		}
	}
	w := workload()
	w.Streams, w.Conditions = 5, false
	if err := w.Check(leat.MinLimits); err != nil {
		t.Errorf("few streams without conditions: %v", err)
	}
}
