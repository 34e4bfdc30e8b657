// Package withleat is the compared service with Leat, as docs/your-first-service.md
// builds it.
package withleat

import (
	"context"
	"database/sql"
	"errors"

	"github.com/leathq/leat"
	"github.com/leathq/leat/bench/sdk/readmodel"
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

var Accounts = service.Aggregate[Account, Event]{
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

var ErrNotEnough = errors.New("not enough in the account")

func Withdraw(pence int) func(Account) ([]Event, error) {
	return func(a Account) ([]Event, error) {
		if a.Pence < pence {
			return nil, ErrNotEnough
		}
		return []Event{Withdrawn{pence}}, nil
	}
}

func Balances(db *sql.DB) service.Projection[*sql.Tx] {
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
			_, err := sqlite.Exec(ctx, tx, readmodel.Upsert, r.Stream, pence)
			return err
		}),
	}
}
