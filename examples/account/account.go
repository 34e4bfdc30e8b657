package main

import (
	"errors"
	"fmt"

	"github.com/leathq/leat/service"
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

var ErrNotEnough = errors.New("not enough in the account")

func Withdraw(pence int) func(Account) ([]Event, error) {
	return func(a Account) ([]Event, error) {
		if a.Pence < pence {
			return nil, fmt.Errorf("%w: %d of %d pence", ErrNotEnough, a.Pence, pence)
		}
		return []Event{Withdrawn{pence}}, nil
	}
}
