// Command account is the smallest service: one aggregate, one read model, one
// process. The README shows it; a test holds the two together.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

type Event interface{ event() }

type Deposited struct{ Pence int }
type Withdrawn struct{ Pence int }

func (Deposited) event() {}
func (Withdrawn) event() {}

var types = service.NewTypes[Event](
	service.TypeOf[Deposited]("Deposited"),
	service.TypeOf[Withdrawn]("Withdrawn"),
)

type Account struct{ Pence int }

var accounts = service.Aggregate[Account, Event]{
	Category: "account", Types: types,
	Evolve: func(a Account, e Event) Account {
		switch e := e.(type) {
		case Deposited:
			a.Pence += e.Pence
		case Withdrawn:
			a.Pence -= e.Pence
		}
		return a
	},
}

func Deposit(pence int) func(Account) ([]Event, error) {
	return func(Account) ([]Event, error) { return []Event{Deposited{pence}}, nil }
}

func Withdraw(pence int) func(Account) ([]Event, error) {
	return func(a Account) ([]Event, error) {
		if a.Pence < pence {
			return nil, fmt.Errorf("%d pence are not enough to withdraw %d", a.Pence, pence)
		}
		return []Event{Withdrawn{pence}}, nil
	}
}

// balances writes each account's balance into the service's own database.
func balances(db *sql.DB) service.Runner {
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

func run(ctx context.Context, dir string) error {
	log, err := engine.Open(filepath.Join(dir, "log"), engine.Options{})
	if errors.Is(err, leat.ErrNotFound) {
		log, err = engine.Create(filepath.Join(dir, "log"), leat.Config{}, engine.Options{})
	}
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := sqlite.Open(filepath.Join(dir, "account.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "create table if not exists balance (account text primary key, pence integer)"); err != nil {
		return err
	}
	app, err := service.NewApp(service.Config{Log: log}, balances(db))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	err = trade(ctx, log, app, db)
	stop()
	return errors.Join(err, <-ended)
}

func trade(ctx context.Context, log leat.Log, app *service.App, db *sql.DB) error {
	// The command's ID makes it safe to send again: it is carried out once.
	if _, err := accounts.Do(ctx, log, "anna", Deposit(500), service.CommandID("transfer-1")); err != nil {
		return err
	}
	r, err := accounts.Do(ctx, log, "anna", Withdraw(20))
	if err != nil {
		return err
	}
	if err := app.WaitFor(ctx, r.Receipt); err != nil { // read your own write
		return err
	}
	var pence int
	err = db.QueryRowContext(ctx, "select pence from balance where account = 'account-anna'").Scan(&pence)
	fmt.Println("anna has", pence, "pence")
	return err
}

func main() {
	dir := flag.String("data", "account-data", "where the log and the service's database are")
	flag.Parse()
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "account:", err)
		os.Exit(1)
	}
	if err := run(context.Background(), *dir); err != nil {
		fmt.Fprintln(os.Stderr, "account:", err)
		os.Exit(1)
	}
}
