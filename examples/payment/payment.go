// Package payment is a process: it waits until an order is paid, reminds the
// customer, and gives the order up when that did not help. The guide
// docs/processes.md explains it.
package payment

import (
	"context"
	"errors"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Input is what feeds the process: events of other services, with the fields of
// them that matter here.
type Input interface{ input() }

type (
	// OrderPlaced says that so much is to be paid for an order.
	OrderPlaced struct {
		Order string `json:"order"`
		Pence int    `json:"pence"`
	}

	// MoneyArrived says that so much was paid for it.
	MoneyArrived struct {
		Order string `json:"order"`
		Pence int    `json:"pence"`
	}
)

func (OrderPlaced) input()  {}
func (MoneyArrived) input() {}

// Event is what happens to the payment of an order.
type Event interface{ event() }

type (
	// Awaited begins it.
	Awaited struct {
		Pence int `json:"pence"`
	}

	// Received says that some of it was paid, or all.
	Received struct {
		Pence int `json:"pence"`
	}

	// Reminded says that the customer was told again.
	Reminded struct{}

	// Settled ends it well.
	Settled struct{}

	// GivenUp ends it badly.
	GivenUp struct {
		Reason string `json:"reason"`
	}
)

func (Awaited) event()  {}
func (Received) event() {}
func (Reminded) event() {}
func (Settled) event()  {}
func (GivenUp) event()  {}

// What the process has others do.
type (
	// SendBill to the customer.
	SendBill struct {
		Pence int    `json:"pence"`
		Order string `json:"order"`
	}

	// Remind the customer.
	Remind struct {
		Order string `json:"order"`
	}

	// Ship the order.
	Ship struct {
		Order string `json:"order"`
	}

	// Cancel the order.
	Cancel struct {
		Order string `json:"order"`
	}
)

// Payment is the state of the process of an order.
type Payment struct {
	Open     int // pence still to be paid
	Reminded bool
	Over     bool
}

func evolve(p Payment, e Event) Payment {
	switch e := e.(type) {
	case Awaited:
		p.Open += e.Pence
	case Received:
		p.Open -= e.Pence
	case Reminded:
		p.Reminded = true
	case Settled, GivenUp:
		p.Over = true
	}
	return p
}

// Outside is what carries out the commands.
type Outside interface {
	// SendBill and Remind write to the customer. The key is the same each time
	// one and the same letter is asked for.
	SendBill(ctx context.Context, key, order string, pence int) error
	Remind(ctx context.Context, key, order string) error

	// Ship and Cancel are commands to the order.
	Ship(ctx context.Context, order string, by service.Option) error
	Cancel(ctx context.Context, order string, by service.Option) error
}

// ErrNoAddress says that a bill cannot be sent, today or tomorrow.
var ErrNoAddress = errors.New("the customer has no address")

// How long a customer has to pay, and then after a reminder.
const (
	patience = 14 * 24 * time.Hour
	grace    = 7 * 24 * time.Hour
)

type decision = service.Decision[Payment, Event]

// New returns the process.
func New(store service.ProcessStore, to Outside) *service.Process[Payment, Event, Input] {
	return &service.Process[Payment, Event, Input]{
		Name:  "payment",
		Store: store,
		Types: service.NewTypes[Event](
			service.TypeOf[Awaited]("PaymentAwaited"),
			service.TypeOf[Received]("PartReceived"),
			service.TypeOf[Reminded]("CustomerReminded"),
			service.TypeOf[Settled]("PaymentSettled"),
			service.TypeOf[GivenUp]("PaymentGivenUp"),
		),
		Evolve: evolve,
		Inputs: service.NewTypes[Input](
			service.TypeOf[OrderPlaced]("OrderPlaced"),
			service.TypeOf[MoneyArrived]("PaymentReceived"),
		),
		Route:    orderOf,
		React:    react,
		Fired:    fired,
		Commands: commands(to),
		Refused:  refused,
	}
}

func orderOf(e Input, _ leat.Recorded) string {
	switch e := e.(type) {
	case OrderPlaced:
		return e.Order
	case MoneyArrived:
		return e.Order
	}
	return ""
}

func react(d *decision, e Input, r leat.Recorded) error {
	switch e := e.(type) {
	case OrderPlaced:
		d.Record(Awaited{Pence: e.Pence})
		d.Do(SendBill{Order: e.Order, Pence: e.Pence})
		d.SetTimer("reminder", r.At.Add(patience))
	case MoneyArrived:
		d.Record(Received{Pence: e.Pence})
		if p := d.State(); p.Open <= 0 && !p.Over {
			d.Record(Settled{})
			d.CancelTimer("reminder")
			d.CancelTimer("end")
			d.Do(Ship{Order: e.Order})
		}
	}
	return nil
}

func fired(d *decision, timer string, due time.Time) error {
	switch timer {
	case "reminder":
		d.Record(Reminded{})
		d.Do(Remind{Order: d.ID()})
		d.SetTimer("end", due.Add(grace))
	case "end":
		giveUp(d, "not paid")
	}
	return nil
}

func giveUp(d *decision, reason string) {
	d.Record(GivenUp{Reason: reason})
	d.CancelTimer("reminder")
	d.CancelTimer("end")
	d.Do(Cancel{Order: d.ID()})
}

func commands(to Outside) []service.Command {
	return []service.Command{
		service.CommandOf("SendBill", func(ctx context.Context, c SendBill, r leat.Recorded) error {
			err := to.SendBill(ctx, service.CommandKey(r, "bill"), c.Order, c.Pence)
			if errors.Is(err, ErrNoAddress) {
				return service.Permanent(err)
			}
			return err
		}),
		service.CommandOf("Remind", func(ctx context.Context, c Remind, r leat.Recorded) error {
			return to.Remind(ctx, service.CommandKey(r, "reminder"), c.Order)
		}),
		service.CommandOf("Ship", func(ctx context.Context, c Ship, r leat.Recorded) error {
			return to.Ship(ctx, c.Order, service.CausedBy(r, "ship"))
		}),
		service.CommandOf("Cancel", func(ctx context.Context, c Cancel, r leat.Recorded) error {
			return to.Cancel(ctx, c.Order, service.CausedBy(r, "cancel"))
		}),
	}
}

func refused(d *decision, command any, reason string) error {
	if _, bill := command.(SendBill); bill && !d.State().Over {
		giveUp(d, reason)
	}
	return nil
}
