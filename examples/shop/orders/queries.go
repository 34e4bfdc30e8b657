package orders

import (
	"context"
	"fmt"
	"time"

	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
)

// A View is an order as the service tells it.
type View struct {
	Order    string    `json:"order"`
	Customer string    `json:"customer,omitempty"`
	Country  string    `json:"country"`
	Placed   time.Time `json:"placed"`
	Status   Status    `json:"status"`
	Lines    int64     `json:"lines"`
	Units    int64     `json:"units"`    // ordered
	Returned int64     `json:"returned"` // of them
	Gross    int64     `json:"gross"`    // tenths of a penny

	// Events made the order what it is. All leaves them out.
	Events []trace.Event `json:"events,omitempty"`
}

const selectView = `select number, customer, country, placed, status, lines, units, returned, gross from orders`

// Get returns an order, or an error that wraps leat.ErrNotFound.
func (s *Service) Get(ctx context.Context, number string) (View, error) {
	v, err := database.Get(ctx, s.db, scanView, selectView+` where number = ?`, number)
	if err != nil {
		return View{}, fmt.Errorf("order %q: %w", number, err)
	}
	v.Events, err = trace.Of(ctx, s.db, s.orders.Stream(number))
	return v, err
}

// All calls f with every order, in no particular order, until f fails.
func (s *Service) All(ctx context.Context, f func(View) error) error {
	if err := database.Each(ctx, s.db, scanView, f, selectView); err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	return nil
}

func scanView(row database.Scanner) (View, error) {
	var v View
	var placed int64
	err := row.Scan(&v.Order, &v.Customer, &v.Country, &placed, &v.Status, &v.Lines, &v.Units, &v.Returned, &v.Gross)
	v.Placed = time.UnixMicro(placed).UTC()
	return v, err
}

// Gross returns the value of the orders of each country, in tenths of a penny.
func (s *Service) Gross(ctx context.Context) (map[string]int64, error) {
	gross, err := database.Sums(ctx, s.db, `select country, sum(gross) from orders group by country`)
	if err != nil {
		return nil, fmt.Errorf("gross by country: %w", err)
	}
	return gross, nil
}

// Counts says how many SKUs and orders the service knows.
type Counts struct {
	SKUs    int64 `json:"skus"`
	Placed  int64 `json:"placed"`  // orders, in any status
	Settled int64 `json:"settled"` // of them, confirmed or cancelled
	Waiting int64 `json:"waiting"` // the others
}

// Count counts.
func (s *Service) Count(ctx context.Context) (Counts, error) {
	var c Counts
	err := s.db.QueryRowContext(ctx, `select
		(select count(*) from catalogue),
		(select count(*) from orders),
		(select count(*) from orders where status in ('confirmed', 'cancelled'))`).
		Scan(&c.SKUs, &c.Placed, &c.Settled)
	if err != nil {
		return Counts{}, fmt.Errorf("count orders: %w", err)
	}
	c.Waiting = c.Placed - c.Settled
	return c, nil
}
