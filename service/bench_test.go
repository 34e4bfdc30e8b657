package service_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// nullLog takes every append and holds nothing: what remains is the cost of Do.
type nullLog struct{ leat.Log }

func (*nullLog) Append(_ context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	return leat.Receipt{}, nil
}

func (*nullLog) ReadStream(context.Context, string, leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(func(leat.Recorded, error) bool) {}
}

func BenchmarkDo(b *testing.B) {
	ids := make([]string, 4000)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	decide := func(stock) ([]stockEvent, error) { return []stockEvent{received{Units: 1}}, nil }
	cause := leat.Recorded{Event: leat.Event{ID: leat.NewID(), Stream: "order-536365", Time: time.Now()}}
	run := func(b *testing.B, log leat.Log, opts ...service.Option) {
		stocks := newStocks()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := stocks.Do(b.Context(), log, ids[i%len(ids)], decide, opts...); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("sdk alone", func(b *testing.B) { run(b, &nullLog{}) })
	b.Run("sdk alone, caused", func(b *testing.B) { run(b, &nullLog{}, service.CausedBy(cause, "reserve")) })
	b.Run("sdk alone, parallel", func(b *testing.B) {
		stocks := newStocks()
		var n atomic.Int64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			log := leat.Log(sharedNullLog)
			for pb.Next() {
				if _, err := stocks.Do(b.Context(), log, ids[int(n.Add(1))%len(ids)], decide); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("reference log", func(b *testing.B) {
		log, err := leattest.New(leat.Config{}, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		defer log.Close()
		run(b, log)
	})
}

var sharedNullLog = &nullLog{}

func BenchmarkReactor(b *testing.B) {
	log := filled(b, b.N)
	defer log.Close()
	var n atomic.Int64
	runTo(b, log, service.Reactor{
		Name: "r", Checkpoints: servicetest.NewMemory(),
		React: func(context.Context, leat.Recorded) error { n.Add(1); return nil },
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "events/s")
}

// filled returns a log with n events in 4,000 streams.
func filled(b *testing.B, n int) *leattest.Log {
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < n; {
		events := make([]leat.Event, 0, 500)
		for ; len(events) < 500 && i < n; i++ {
			events = append(events, leat.Event{Stream: fmt.Sprintf("{x}stock-%d", i%4000), Type: "Received", Source: "bench", Data: []byte(`{"units":1}`)})
		}
		if _, err := log.Append(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	return log
}

// runTo runs an application to the head of the log.
func runTo(b *testing.B, log leat.Log, r service.Runner) {
	to, err := leat.Start(b.Context(), log, leat.Now)
	if err != nil {
		b.Fatal(err)
	}
	app, err := service.NewApp(service.Config{Log: log}, r)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.ResetTimer()
	wg.Go(func() {
		if err := app.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	if err := app.WaitCaughtUp(ctx, to); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	cancel()
	wg.Wait()
}
