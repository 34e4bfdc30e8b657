package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// TestApplicationAheadOfARestore runs a projection past what is archived,
// restores, and expects that it stops and says why and what to do.
func TestApplicationAheadOfARestore(t *testing.T) {
	url := newLog(t, "--id", "shop")
	ok(t, "", "append", "order-1", "OrderPlaced", "{}")
	archiveLog(t, t.TempDir(), newKey(t))
	ok(t, "", "append", "order-1", "OrderPaid", "{}") // lost

	db, err := sqlite.Open(filepath.Join(t.TempDir(), "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	projection := service.Projection[*sql.Tx]{
		Name: "orders/v1", Into: sqlite.ReadModel(db), Filter: leat.Filter{Categories: []string{"order"}},
		Apply: func(context.Context, *sql.Tx, leat.Recorded) error { return nil },
	}
	err = logFlag{url}.with(t.Context(), func(log leat.Log) error { return runTo(t.Context(), log, projection) })
	if err != nil {
		t.Fatal(err)
	}
	restored := "dir:" + filepath.Join(t.TempDir(), "restored")
	ok(t, "", "restore", "--log", restored)
	for range 3 { // the new events must not be taken for those that are lost
		ok(t, "", "append", "order-2", "OrderPlaced", "{}", "--log", restored)
	}
	err = logFlag{restored}.with(t.Context(), func(log leat.Log) error { return runTo(t.Context(), log, projection) })
	for _, want := range []string{"kept up to 1", "reset the reader to a checkpoint of this log or rebuild it"} {
		if !errors.Is(err, leat.ErrDiverged) || !strings.Contains(err.Error(), want) {
			t.Errorf("the projection ended with %v, want ErrDiverged and %q", err, want)
		}
	}
}

// runTo runs a projection until it has the log's events up to now, and returns
// why it ended before.
func runTo(ctx context.Context, log leat.Log, p service.Projection[*sql.Tx]) error {
	app, err := service.NewApp(service.Config{Log: log}, p)
	if err != nil {
		return err
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	waited := app.WaitFor(ctx, leat.Receipt{Shard: shards[0].ID, First: shards[0].Head, Last: shards[0].Head})
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return waited
}
