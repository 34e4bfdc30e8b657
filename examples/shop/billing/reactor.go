package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/service"
)

// invoicesAtOnce is how many orders are answered at a time. Appends that wait
// for the disk together share one sync.
const invoicesAtOnce = 64

// What the service needs of the events of orders.
type (
	orderEvent interface{ orderEvent() }

	orderPlaced struct {
		Order    string `json:"order"`
		Customer string `json:"customer"`
		Country  string `json:"country"`
		Lines    []Line `json:"lines"`
	}
	unitsReturned struct {
		Order   string   `json:"order"`
		Note    string   `json:"note"`
		Country string   `json:"country"`
		Pieces  []Credit `json:"pieces"`
	}
)

func (orderPlaced) orderEvent()   {}
func (unitsReturned) orderEvent() {}

var orderTypes = service.NewTypes[orderEvent](
	service.TypeOf[orderPlaced]("OrderPlaced"),
	service.TypeOf[unitsReturned]("UnitsReturned"),
)

// Runners returns the service's applications.
func (s *Service) Runners() []service.Runner {
	return []service.Runner{
		service.Reactor{
			Name: "billing/invoicing", Checkpoints: s.db.Store, Parallel: invoicesAtOnce,
			Filter: leat.Filter{Types: orderTypes.Names()},
			React:  service.React(orderTypes, s.answerOrder),
		},
		s.db.Projection("billing/ledger", leat.Filter{Types: Types.Names()}, database.Typed(Types, applyLedger)),
	}
}

// answerOrder bills an order, or credits what it gives back. An order's events
// come in order, so its invoice is issued before anything is credited on it.
func (s *Service) answerOrder(ctx context.Context, e orderEvent, r leat.Recorded) error {
	switch e := e.(type) {
	case orderPlaced:
		i := Issued{Invoice: e.Order, Customer: e.Customer, Country: e.Country}
		if err := i.check(e.Lines); err != nil {
			return service.Permanent(fmt.Errorf("issue invoice %q: %w", e.Order, err))
		}
		return refused(s.do(ctx, e.Order, "", issue(i, e.Lines), service.CausedBy(r, "issue")))
	case unitsReturned:
		c := Credited{Invoice: e.Order, Note: e.Note, Country: e.Country, Credits: e.Pieces}
		if err := c.check(); err != nil {
			return service.Permanent(fmt.Errorf("credit %q on invoice %q: %w", e.Note, e.Order, err))
		}
		return refused(s.do(ctx, e.Order, "", credit(c), service.CausedBy(r, "credit")))
	}
	return nil
}

// refused marks what was decided against: to try it again will not help.
func refused(err error) error {
	for _, refusal := range []error{ErrIssued, ErrNotIssued, ErrAmount} {
		if errors.Is(err, refusal) {
			return service.Permanent(err)
		}
	}
	return err
}
