package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// workerEnv makes the test binary a worker of a fleet: "NAME URL DIR".
const workerEnv = "LEAT_TEST_WORKER"

// workerTTL is how long the shards of a worker that is gone stay without work.
const workerTTL = 600 * time.Millisecond

// openHistory opens the database that the workers of a fleet share. Its table
// applied holds the versions of each stream in the order in which they were
// applied.
func openHistory(ctx context.Context, dir string) (*sql.DB, error) {
	db, err := sqlite.Open(filepath.Join(dir, "history.db"))
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, "create table if not exists applied (number integer primary key autoincrement, stream text not null, version integer not null)")
	return db, err
}

// reactedFile names the file to which the reactor adds a line for each event it is
// done with.
func reactedFile(dir string) string { return filepath.Join(dir, "reacted") }

// work runs a projection and a reactor as one process of a fleet until it is asked
// to end.
func work(args string) error {
	fields := strings.Fields(args)
	name, url, dir := fields[0], fields[1], fields[2]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log, err := client.Dial(ctx, url, client.Options{Wait: true})
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := openHistory(ctx, dir)
	if err != nil {
		return err
	}
	defer db.Close()
	reacted, err := os.OpenFile(reactedFile(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer reacted.Close()

	model := sqlite.ReadModel(db)
	app, err := service.NewApp(
		service.Config{Log: log, Leases: log, Instance: name, LeaseTTL: workerTTL},
		service.Projection[*sql.Tx]{
			Name: "history", Into: model,
			Apply: func(ctx context.Context, tx *sql.Tx, r leat.Recorded) error {
				_, err := sqlite.Exec(ctx, tx, "insert into applied (stream, version) values (?, ?)", r.Stream, int64(r.Version))
				return err
			},
		},
		service.Reactor{
			Name: "reactor", Checkpoints: model,
			React: func(_ context.Context, r leat.Recorded) error {
				_, err := fmt.Fprintln(reacted, r.Stream, r.Version)
				return err
			},
		})
	if err != nil {
		return err
	}
	fmt.Println("started")
	return app.Run(ctx)
}
