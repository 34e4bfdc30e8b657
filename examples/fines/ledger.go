package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

const tables = `
create table if not exists fine (id text primary key, status text not null, events integer not null) without rowid;
create table if not exists account (
	id text primary key, paid integer not null,
	days integer not null, payments integer not null, explained_days integer not null, explained_payments integer not null,
	state text not null
) without rowid;`

// openLedger opens the service's own database.
func openLedger(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, tables)
	return db, err
}

// ledger keeps the status of each fine, and the account of each that was paid. A
// payment is folded onto the state by the same function as the aggregate's.
func ledger(db *sql.DB) service.Projection[*sql.Tx] {
	return service.Projection[*sql.Tx]{
		Name: "ledger/v1", Into: sqlite.ReadModel(db),
		Filter: leat.Filter{Categories: []string{fines.Category}},
		Apply:  service.Apply(types, applyToLedger),
	}
}

func applyToLedger(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
	_, err := sqlite.Exec(ctx, tx, `insert into fine values (?, ?, 1)
		on conflict do update set status = excluded.status, events = events + 1`, r.Stream, evolve(Fine{}, e).Status)
	if p, ok := e.(Paid); ok && err == nil {
		err = pay(ctx, tx, p, r.Stream)
	}
	return err
}

func pay(ctx context.Context, tx *sql.Tx, p Paid, stream string) error {
	var f Fine
	var state string
	err := sqlite.QueryRow(ctx, tx, "select state from account where id = ?", stream).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal([]byte(state), &f); err != nil {
			return err
		}
	}
	f = evolve(f, p)
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	t := f.Tally()
	_, err = sqlite.Exec(ctx, tx, `insert or replace into account values (?, ?, ?, ?, ?, ?, ?)`,
		stream, int64(f.Paid), t.Days, t.Payments, t.ExplainedDays, t.ExplainedPayments, string(data))
	return err
}

// total adds up the accounts.
func total(ctx context.Context, db *sql.DB) (t Tally, fines int, err error) {
	err = db.QueryRowContext(ctx, `select count(*), total(a.days), total(a.payments), total(a.explained_days), total(a.explained_payments)
		from fine left join account a using (id)`).Scan(&fines, &t.Days, &t.Payments, &t.ExplainedDays, &t.ExplainedPayments)
	return t, fines, err
}
