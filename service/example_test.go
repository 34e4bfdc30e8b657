package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// Account is an example of a service's domain: its events, its state, and the
// two functions that connect them.
type (
	AccountEvent interface{ accountEvent() }

	Deposited struct {
		Pence int `json:"pence"`
	}
	Withdrawn struct {
		Pence int `json:"pence"`
	}

	// Account is the state of a stream.
	Account struct{ Pence int }
)

func (Deposited) accountEvent() {}
func (Withdrawn) accountEvent() {}

var accountTypes = service.NewTypes[AccountEvent](
	service.TypeOf[Deposited]("Deposited"),
	service.TypeOf[Withdrawn]("Withdrawn"),
)

var accounts = service.Aggregate[Account, AccountEvent]{
	Category: "account", Source: "bank", Types: accountTypes,
	Evolve: func(a Account, e AccountEvent) Account {
		switch e := e.(type) {
		case Deposited:
			a.Pence += e.Pence
		case Withdrawn:
			a.Pence -= e.Pence
		}
		return a
	},
}

var ErrOverdrawn = errors.New("not enough in the account")

// Withdraw is a command: a decision on the state of an account.
func Withdraw(pence int) func(Account) ([]AccountEvent, error) {
	return func(a Account) ([]AccountEvent, error) {
		if a.Pence < pence {
			return nil, fmt.Errorf("%w: %d of %d", ErrOverdrawn, a.Pence, pence)
		}
		return []AccountEvent{Withdrawn{pence}}, nil
	}
}

// Deposit is one that never refuses.
func Deposit(pence int) func(Account) ([]AccountEvent, error) {
	return func(Account) ([]AccountEvent, error) { return []AccountEvent{Deposited{pence}}, nil }
}

func exampleLog() *leattest.Log {
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		panic(err)
	}
	return log
}

// Events change their form over the years; the log keeps them as they were.
// Each upcaster turns one form into the next.
func ExampleUpcast() {
	type depositedV0 struct{ Pounds int }
	type depositedV1 struct{ Pounds, Pence int }
	types := service.NewTypes[AccountEvent](
		service.TypeOf[Deposited]("account.deposited.v2",
			service.Upcast("account.deposited.v1", func(d depositedV1) Deposited { return Deposited{100*d.Pounds + d.Pence} },
				service.Upcast("account.deposited.v0", func(d depositedV0) depositedV1 { return depositedV1{Pounds: d.Pounds} }))),
	)
	for _, r := range []leat.Event{
		{Type: "account.deposited.v0", Data: []byte(`{"Pounds":3}`)},
		{Type: "account.deposited.v1", Data: []byte(`{"Pounds":3,"Pence":50}`)},
		{Type: "account.deposited.v2", Data: []byte(`{"pence":350}`)},
	} {
		e, err := types.Decode(leat.Recorded{Event: r})
		fmt.Println(e, err)
	}
	// Output:
	// {300} <nil>
	// {350} <nil>
	// {350} <nil>
}

func ExampleAggregate_Do() {
	ctx, log := context.Background(), exampleLog()
	defer log.Close()

	r, err := accounts.Do(ctx, log, "anna", Deposit(500), service.CommandID("transfer-1"))
	fmt.Println(r.State.Pence, r.Version, err)

	_, err = accounts.Do(ctx, log, "anna", Withdraw(600))
	fmt.Println(errors.Is(err, ErrOverdrawn), err)

	// The same command once more, because its sender did not get the answer.
	r, err = accounts.Do(ctx, log, "anna", Deposit(500), service.CommandID("transfer-1"))
	fmt.Println(r.State.Pence, r.Duplicate, err)
	// Output:
	// 500 1 <nil>
	// true not enough in the account: 500 of 600
	// 500 true <nil>
}

// A reactor answers events with commands. CausedBy derives their IDs from the
// event, so they are carried out once, however often the event is delivered.
func ExampleReactor() {
	ctx, log := context.Background(), exampleLog()
	defer log.Close()

	bonus := service.Reactor{
		Name: "bonus", Checkpoints: servicetest.NewMemory(),
		Filter: leat.Filter{Categories: []string{"account"}, Types: []string{"Deposited"}},
		React: service.React(accountTypes, func(ctx context.Context, e AccountEvent, r leat.Recorded) error {
			owner := strings.TrimPrefix(r.Stream, "account-")
			if d := e.(Deposited); d.Pence < 1000 || owner == "bonus" {
				return service.ErrSkipped
			}
			_, err := accounts.Do(ctx, log, "bonus", Deposit(1), service.CausedBy(r, "bonus"))
			return err
		}),
	}
	app, err := service.NewApp(service.Config{Log: log}, bonus)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	deposit, err := accounts.Do(ctx, log, "bert", Deposit(2000))
	if err != nil {
		panic(err)
	}
	if err := app.WaitFor(ctx, deposit.Receipt); err != nil {
		panic(err)
	}
	l, err := accounts.Load(ctx, log, "bonus")
	fmt.Println(l.State.Pence, err)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 1 <nil>
	// <nil>
}
