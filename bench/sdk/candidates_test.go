package sdk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/hallgren/eventsourcing/aggregate"
	"github.com/leathq/leat"
	"github.com/leathq/leat/bench/sdk/readmodel"
	"github.com/leathq/leat/bench/sdk/withhallgren"
	"github.com/leathq/leat/bench/sdk/withleat"
	"github.com/leathq/leat/bench/sdk/withwatermill"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/service"
)

func openLeat(_ context.Context, dir, _ string) (opened, error) {
	path := filepath.Join(dir, "log")
	log, err := engine.Open(path, engine.Options{})
	if errors.Is(err, leat.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		log, err = engine.Create(path, leat.Config{}, engine.Options{})
	}
	if err != nil {
		return opened{}, err
	}
	return opened{
		do: func(ctx context.Context, account string) error {
			_, err := withleat.Accounts.Do(ctx, log, account, withleat.Deposit(1))
			return err
		},
		project: func(ctx context.Context, model *sql.DB) error {
			app, err := service.NewApp(service.Config{Log: log}, withleat.Balances(model))
			if err != nil {
				return err
			}
			to, err := leat.Start(ctx, log, leat.Now)
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- app.Run(ctx) }()
			err = app.WaitCaughtUp(ctx, to)
			stop()
			return errors.Join(err, <-ended)
		},
		close: log.Close,
	}, nil
}

func openHallgren(ctx context.Context, dir, _ string) (opened, error) {
	db, err := sqliteStore(ctx, filepath.Join(dir, "events.db"))
	if err != nil {
		return opened{}, err
	}
	es := &withhallgren.Store{DB: db}
	aggregate.Register(&withhallgren.Account{})
	return opened{
		do: func(ctx context.Context, account string) error {
			return withhallgren.Do(ctx, es, account, func(a *withhallgren.Account) error {
				a.Deposit(1)
				return nil
			})
		},
		project: func(ctx context.Context, model *sql.DB) error {
			return withhallgren.Balances(ctx, es.All(1, 1000), model).RunToEnd(ctx).Error
		},
		close: db.Close,
	}, nil
}

func openWatermill(ctx context.Context, _, postgres string) (opened, error) {
	db, err := sql.Open("pgx", postgres)
	if err != nil {
		return opened{}, err
	}
	db.SetMaxOpenConns(2 * writers)
	db.SetMaxIdleConns(2 * writers)
	subscriber, err := withwatermill.Subscriber(db)
	if err == nil {
		err = subscriber.SubscribeInitialize("accounts") // makes the tables
	}
	if err == nil {
		_, err = db.ExecContext(ctx, withwatermill.Tables)
	}
	if err != nil {
		return opened{}, err
	}
	return opened{
		do: func(ctx context.Context, account string) error {
			return withwatermill.Do(ctx, db, account, func(a *withwatermill.Account) (any, error) { return a.Deposit(1), nil })
		},
		project: func(ctx context.Context, model *sql.DB) error {
			router, err := withwatermill.Balances(subscriber, model)
			if err != nil {
				return err
			}
			ended := make(chan error, 1)
			go func() { ended <- router.Run(ctx) }()
			done := make(chan error, 1)
			wait, stop := context.WithTimeout(ctx, 5*time.Minute)
			defer stop()
			go func() { done <- untilDone(wait, db) }()
			select {
			case err := <-ended:
				stop()
				<-done
				return fmt.Errorf("the router ended: %w", errors.Join(err, wait.Err()))
			case err = <-done:
				return errors.Join(err, router.Close(), <-ended)
			}
		},
		close: db.Close,
	}, nil
}

// untilDone waits until every message is acknowledged. They are read in the order
// of their transactions.
func untilDone(ctx context.Context, db *sql.DB) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		var left int
		err := db.QueryRowContext(ctx, `select count(*) from watermill_accounts m where not exists (
			select 1 from watermill_offsets_accounts o where o.consumer_group = 'balances'
			and (m.transaction_id, m."offset") <= (o.last_processed_transaction_id, o.offset_acked))`).Scan(&left)
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// forget makes the next subscriber begin with the first message.
func forget(t *testing.T, postgres string) {
	db, err := sql.Open("pgx", postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("delete from watermill_offsets_accounts"); err != nil {
		t.Fatal(err)
	}
}

// sqliteStore opens the database of a Store, durably.
func sqliteStore(ctx context.Context, path string) (*sql.DB, error) {
	db, err := readmodel.OpenDurable(ctx, path)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, withhallgren.Tables)
	return db, err
}
