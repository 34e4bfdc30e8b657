// Package withhallgren is the compared service with github.com/hallgren/eventsourcing,
// as its README builds an aggregate and a projection.
package withhallgren

import (
	"context"
	"database/sql"
	"errors"

	"github.com/hallgren/eventsourcing"
	"github.com/hallgren/eventsourcing/aggregate"
	"github.com/hallgren/eventsourcing/core"
	"github.com/leathq/leat/bench/sdk/readmodel"
)

type Deposited struct{ Pence int }
type Withdrawn struct{ Pence int }

type Account struct {
	aggregate.Root
	Pence int
}

func (a *Account) Transition(event eventsourcing.Event) {
	switch e := event.Data().(type) {
	case *Deposited:
		a.Pence += e.Pence
	case *Withdrawn:
		a.Pence -= e.Pence
	}
}

func (a *Account) Register(r aggregate.RegisterFunc) { r(&Deposited{}, &Withdrawn{}) }

func (a *Account) Deposit(pence int) { aggregate.TrackChange(a, &Deposited{pence}) }

var ErrNotEnough = errors.New("not enough in the account")

func (a *Account) Withdraw(pence int) error {
	if a.Pence < pence {
		return ErrNotEnough
	}
	aggregate.TrackChange(a, &Withdrawn{pence})
	return nil
}

func init() { aggregate.Register(&Account{}) }

// Do carries out a command, and again while somebody else was faster.
func Do(ctx context.Context, es core.EventStore, id string, command func(*Account) error) error {
	for {
		a := &Account{}
		err := aggregate.Load(ctx, es, id, a)
		if errors.Is(err, eventsourcing.ErrAggregateNotFound) {
			a = &Account{}
			err = a.SetID(id)
		}
		if err == nil {
			err = command(a)
		}
		if err == nil {
			err = aggregate.Save(es, a)
		}
		if !errors.Is(err, core.ErrConcurrency) {
			return err
		}
	}
}

// Balances projects the events that fetch returns, from the first on.
func Balances(ctx context.Context, fetch func() (core.Iterator, error), db *sql.DB) *eventsourcing.Projection {
	return eventsourcing.NewProjection(fetch, func(event eventsourcing.Event) error {
		pence := 0
		switch e := event.Data().(type) {
		case *Deposited:
			pence = e.Pence
		case *Withdrawn:
			pence = -e.Pence
		}
		_, err := db.ExecContext(ctx, readmodel.Upsert, event.AggregateID(), pence)
		return err
	})
}
