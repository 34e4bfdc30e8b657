package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

// balances writes each account's balance into the service's own database.
func balances(db *sql.DB) service.Projection[*sql.Tx] {
	return service.Projection[*sql.Tx]{
		Name: "balances/v1", Into: sqlite.ReadModel(db),
		Filter: leat.Filter{Categories: []string{"account"}},
		Apply: service.Apply(types, func(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
			pence := 0
			switch e := e.(type) {
			case Deposited:
				pence = e.Pence
			case Withdrawn:
				pence = -e.Pence
			}
			_, err := sqlite.Exec(ctx, tx, `insert into balance values (?, ?)
				on conflict do update set pence = pence + excluded.pence`, r.Stream, pence)
			return err
		}),
	}
}

// openBalances opens the service's own database.
func openBalances(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, "create table if not exists balance (account text primary key, pence integer)")
	return db, err
}

// balance answers a query from the read model.
func balance(ctx context.Context, db *sql.DB, name string) (pence int, err error) {
	err = db.QueryRowContext(ctx, "select pence from balance where account = ?", accounts.Stream(name)).Scan(&pence)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return pence, err
}
