package client_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// An event is not parked because the log that a reactor appends to is away,
// however often it is tried.
func TestReactorsParkNothingWhileTheServerIsAway(t *testing.T) {
	from, store := reference(t), servicetest.NewMemory()
	s := serve(t, reference(t), nil)
	to := dial(t, s.url, client.Options{Retry: time.Millisecond})
	s.stop(t)()

	app, err := service.NewApp(service.Config{
		Log: from, Logger: slog.New(slog.DiscardHandler), Drain: time.Millisecond,
		Retry: service.Retry{Attempts: 2, First: time.Millisecond, Most: time.Millisecond},
	}, service.Reactor{Name: "r", Checkpoints: store, React: func(ctx context.Context, r leat.Recorded) error {
		_, err := to.Append(ctx, []leat.Event{event("copy-1", r.ID)})
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()
	if _, err := from.Append(ctx, []leat.Event{event("s-1", "e-1")}); err != nil {
		t.Fatal(err)
	}
	await(t, "it was tried often", func() bool { return app.Status()[0].Failures > 2 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the app ended: %v", err)
	}
	if parked, err := store.Parked(t.Context(), "r", ""); err != nil || len(parked) > 0 {
		t.Errorf("parked: %v, %v; want nothing", parked, err)
	}
}
