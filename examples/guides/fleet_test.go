package guides

import (
	"context"
	"database/sql"
	"os/signal"
	"syscall"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// work is the main function of each process of a fleet.
func work(url, database string, stock func(*sql.DB) service.Runner) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log, err := client.Dial(ctx, url, client.Options{Wait: true})
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := sqlite.Open(database)
	if err != nil {
		return err
	}
	defer db.Close()
	app, err := service.NewApp(service.Config{
		Log:      log,
		Leases:   log, // the server keeps the leases of its logs
		LeaseTTL: 5 * time.Second,
		Drain:    10 * time.Second,
	}, stock(db))
	if err != nil {
		return err
	}
	return app.Run(ctx)
}

func Example_fleet() {
	_ = work("leat://127.0.0.1:7070/shop", "stock.db", func(db *sql.DB) service.Runner {
		return service.Projection[*sql.Tx]{
			Name: "stock/v1", Into: sqlite.ReadModel(db),
			Apply: func(context.Context, *sql.Tx, leat.Recorded) error { return nil },
		}
	})
}
