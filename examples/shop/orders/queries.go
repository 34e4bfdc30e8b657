package orders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// A View is an order as the service tells it.
type View struct {
	Order    string
	Customer string
	Country  string
	Placed   time.Time
	Status   Status
	Lines    int64
	Units    int64 // ordered
	Returned int64 // of them
	Gross    int64 // tenths of a penny
}

const selectView = `select number, customer, country, placed, status, lines, units, returned, gross from orders`

// Get returns an order, or an error that wraps leat.ErrNotFound.
func (s *Service) Get(ctx context.Context, number string) (View, error) {
	v, err := scanView(s.db.QueryRowContext(ctx, selectView+` where number = ?`, number))
	if errors.Is(err, sql.ErrNoRows) {
		err = leat.ErrNotFound
	}
	if err != nil {
		return View{}, fmt.Errorf("order %q: %w", number, err)
	}
	return v, nil
}

// All calls f with every order, in no particular order, until f fails.
func (s *Service) All(ctx context.Context, f func(View) error) error {
	rows, err := s.db.QueryContext(ctx, selectView)
	if err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scanView(rows)
		if err != nil {
			return fmt.Errorf("list orders: %w", err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return rows.Err()
}

func scanView(row interface{ Scan(...any) error }) (View, error) {
	var v View
	var placed int64
	err := row.Scan(&v.Order, &v.Customer, &v.Country, &placed, &v.Status, &v.Lines, &v.Units, &v.Returned, &v.Gross)
	v.Placed = time.UnixMicro(placed).UTC()
	return v, err
}

// Gross returns the value of the orders of each country, in tenths of a penny.
func (s *Service) Gross(ctx context.Context) (map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, `select country, sum(gross) from orders group by country`)
	if err != nil {
		return nil, fmt.Errorf("gross by country: %w", err)
	}
	defer rows.Close()
	gross := make(map[string]int64)
	for rows.Next() {
		var country string
		var sum int64
		if err := rows.Scan(&country, &sum); err != nil {
			return nil, fmt.Errorf("gross by country: %w", err)
		}
		gross[country] = sum
	}
	return gross, rows.Err()
}

// Counts says how many SKUs and orders the service knows.
type Counts struct {
	SKUs    int64
	Placed  int64 // orders, in any status
	Settled int64 // of them, confirmed or cancelled
	Waiting int64 // orders that wait to be confirmed
}

// Count counts.
func (s *Service) Count(ctx context.Context) (Counts, error) {
	var c Counts
	err := s.db.QueryRowContext(ctx, `select
		(select count(*) from catalogue),
		(select count(*) from orders),
		(select count(*) from orders where status in ('confirmed', 'cancelled')),
		(select count(*) from fulfilment)`).Scan(&c.SKUs, &c.Placed, &c.Settled, &c.Waiting)
	if err != nil {
		return Counts{}, fmt.Errorf("count orders: %w", err)
	}
	return c, nil
}
