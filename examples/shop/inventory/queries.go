package inventory

import (
	"context"
	"fmt"

	"github.com/leathq/leat/examples/shop/database"
)

// A View is an article as the service tells it, in units.
type View struct {
	SKU         string `json:"sku"`
	Kind        Kind   `json:"kind"`
	Description string `json:"description,omitempty"`
	Received    int64  `json:"received"`
	Sold        int64  `json:"sold"`
	Returned    int64  `json:"returned"`
	Adjusted    int64  `json:"adjusted"` // net
	OnHand      int64  `json:"onHand"`
	Lowest      int64  `json:"lowest"` // that OnHand ever was

	// Last is the event that changed the article last.
	Last Change `json:"last"`
}

// A Change is an event that changed an article.
type Change struct {
	Event       string `json:"event"` // its ID
	Version     uint64 `json:"version"`
	Type        string `json:"type"`
	CausedBy    string `json:"causedBy,omitempty"` // ID of the event that it answers
	Correlation string `json:"correlation"`        // ID of the event that began it all
}

const selectView = `select sku, kind, description, received, sold, returned, adjusted, on_hand, lowest,
	event, version, type, cause, correlation from stock`

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
	var version int64
	err := row.Scan(&v.SKU, &v.Kind, &v.Description, &v.Received, &v.Sold, &v.Returned, &v.Adjusted, &v.OnHand, &v.Lowest,
		&v.Last.Event, &version, &v.Last.Type, &v.Last.CausedBy, &v.Last.Correlation)
	v.Last.Version = uint64(version)
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
	Papers       int64 `json:"papers"`
	RowsLost     int64 `json:"rowsLost"` // below zero
	UnitsLost    int64 `json:"unitsLost"`
	RowsFound    int64 `json:"rowsFound"` // above zero
	UnitsFound   int64 `json:"unitsFound"`
	RowsCharged  int64 `json:"rowsCharged"` // on charges
	UnitsCharged int64 `json:"unitsCharged"`
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
