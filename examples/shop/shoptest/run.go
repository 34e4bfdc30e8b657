// Package shoptest runs one of the shop's services on a log in memory, where the
// events of the others are what a test says they are.
package shoptest

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
)

// A House is a log and an app that runs on it.
type House struct {
	t   testing.TB
	Log leat.Log
	app *service.App
}

// New returns a House with an empty log. Run starts its app.
func New(t testing.TB) *House {
	t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(2)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return &House{t: t, Log: log}
}

// Run runs applications until the test ends.
func (h *House) Run(runners ...service.Runner) {
	h.t.Helper()
	var err error
	h.app, err = service.NewApp(service.Config{
		Log: h.Log, Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{Attempts: 2, First: time.Millisecond},
	}, runners...)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.app.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("the app ended: %v", err)
		}
	})
}

// Record appends an event of another service, data as JSON, and waits until all
// is handled. Its ID is its type.
func (h *House) Record(stream, typ string, data any) {
	h.t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		h.t.Fatal(err)
	}
	e := []leat.Event{{ID: typ, Stream: stream, Type: typ, Source: "test", Data: text}}
	if _, err := h.Log.Append(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
	h.Settle()
}

// Settle waits until everything is handled, also what was recorded meanwhile.
func (h *House) Settle() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for {
		end := h.end(ctx)
		if err := h.app.WaitCaughtUp(ctx, end); err != nil {
			h.t.Fatal(err)
		}
		if h.end(ctx).Equal(end) {
			return
		}
	}
}

// Await waits until a stream has an event, and all is handled.
func (h *House) Await(stream string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for b, err := range leat.Follow(ctx, h.Log, leat.Filter{Streams: []string{stream}}, leat.Checkpoint{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		if len(b.Events) > 0 {
			break
		}
	}
	h.Settle()
}

func (h *House) end(ctx context.Context) leat.Checkpoint {
	end, err := leat.Start(ctx, h.Log, leat.Now)
	if err != nil {
		h.t.Fatal(err)
	}
	return end
}

// Types returns the types of the events of a stream.
func (h *House) Types(stream string) []string {
	h.t.Helper()
	var types []string
	for r, err := range h.Log.ReadStream(h.t.Context(), stream, leat.Range{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		types = append(types, r.Type)
	}
	return types
}

// Parked returns how many events the applications could not handle.
func (h *House) Parked() (n uint64) {
	for _, s := range h.app.Status() {
		n += s.Parked
	}
	return n
}
