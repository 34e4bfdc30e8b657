package inventory

import (
	"context"
	"fmt"

	"github.com/leathq/leat/examples/shop/database"
)

// A View is an article as the service tells it, in units.
type View struct {
	SKU         string
	Kind        Kind
	Description string
	Received    int64
	Sold        int64
	Returned    int64
	Adjusted    int64 // net
	OnHand      int64
	Lowest      int64 // that OnHand ever was
}

const selectView = `select sku, kind, description, received, sold, returned, adjusted, on_hand, lowest from stock`

// Get returns an article, or an error that wraps leat.ErrNotFound.
func (s *Service) Get(ctx context.Context, sku string) (View, error) {
	v, err := database.Get(ctx, s.db, scanView, selectView+` where sku = ?`, sku)
	if err != nil {
		return View{}, fmt.Errorf("SKU %q: %w", sku, err)
	}
	return v, nil
}

// All calls f with every article, in no particular order, until f fails.
func (s *Service) All(ctx context.Context, f func(View) error) error {
	if err := database.Each(ctx, s.db, scanView, f, selectView); err != nil {
		return fmt.Errorf("list SKUs: %w", err)
	}
	return nil
}

func scanView(row database.Scanner) (View, error) {
	var v View
	err := row.Scan(&v.SKU, &v.Kind, &v.Description, &v.Received, &v.Sold, &v.Returned, &v.Adjusted, &v.OnHand, &v.Lowest)
	return v, err
}

// Waiting returns how many units orders wait for.
func (s *Service) Waiting(ctx context.Context) (int64, error) {
	var units int64
	err := s.db.QueryRowContext(ctx, `select coalesce(sum(units), 0) from waiting`).Scan(&units)
	if err != nil {
		return 0, fmt.Errorf("units that orders wait for: %w", err)
	}
	return units, nil
}

// Adjustments sums up the adjustments of the stock, those recorded on charges
// included.
type Adjustments struct {
	Papers                    int64
	RowsLost, UnitsLost       int64 // below zero
	RowsFound, UnitsFound     int64 // above zero
	RowsCharged, UnitsCharged int64 // on charges
}

// Adjustments adds up.
func (s *Service) Adjustments(ctx context.Context) (Adjustments, error) {
	var a Adjustments
	err := s.db.QueryRowContext(ctx, `select count(distinct note),
		count(*) filter (where units < 0), coalesce(sum(units) filter (where units < 0), 0),
		count(*) filter (where units > 0), coalesce(sum(units) filter (where units > 0), 0),
		count(*) filter (where charge), coalesce(sum(units) filter (where charge), 0)
		from adjustments`).
		Scan(&a.Papers, &a.RowsLost, &a.UnitsLost, &a.RowsFound, &a.UnitsFound, &a.RowsCharged, &a.UnitsCharged)
	if err != nil {
		return Adjustments{}, fmt.Errorf("sum up adjustments: %w", err)
	}
	return a, nil
}
