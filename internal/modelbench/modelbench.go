// Package modelbench measures how fast events are folded into a database.
package modelbench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
)

// Project runs a projection over a log of events about 4,000 streams, each with
// one number, units. An operation of the benchmark is an event.
func Project[Tx any](b *testing.B, into service.ReadModel[Tx], apply func(context.Context, Tx, leat.Recorded) error) {
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	for i := 0; i < b.N; {
		events := make([]leat.Event, 0, 500)
		for ; len(events) < 500 && i < b.N; i++ {
			events = append(events, leat.Event{Stream: fmt.Sprintf("{x}stock-%d", i%4000), Type: "Received", Source: "bench", Data: []byte(`{"units":1}`)})
		}
		if _, err := log.Append(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	to, err := leat.Start(b.Context(), log, leat.Now)
	if err != nil {
		b.Fatal(err)
	}
	app, err := service.NewApp(service.Config{Log: log}, service.Projection[Tx]{Name: "stock", Into: into, Apply: apply})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	b.ReportAllocs()
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
