package billing

import (
	"context"
	"fmt"

	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
)

// A View is an invoice as the service tells it. Amounts are in tenths of a
// penny.
type View struct {
	Invoice  string `json:"invoice"`
	Customer string `json:"customer,omitempty"`
	Country  string `json:"country"`
	Amount   int64  `json:"amount"`
	Paid     int64  `json:"paid"`
	Credited int64  `json:"credited"`

	// Events made the invoice what it is. All leaves them out.
	Events []trace.Event `json:"events,omitempty"`
}

const selectView = `select number, customer, country, amount, paid, credited from invoices`

// Get returns an invoice, or an error that wraps leat.ErrNotFound.
func (s *Service) Get(ctx context.Context, number string) (View, error) {
	v, err := database.Get(ctx, s.db.DB, scanView, selectView+` where number = $1`, number)
	if err != nil {
		return View{}, fmt.Errorf("invoice %q: %w", number, err)
	}
	v.Events, err = trace.Of(ctx, s.db.DB, s.invoices.Stream(number))
	return v, err
}

// All calls f with every invoice, in no particular order, until f fails.
func (s *Service) All(ctx context.Context, f func(View) error) error {
	if err := database.Each(ctx, s.db.DB, scanView, f, selectView); err != nil {
		return fmt.Errorf("list invoices: %w", err)
	}
	return nil
}

func scanView(row database.Scanner) (View, error) {
	var v View
	err := row.Scan(&v.Invoice, &v.Customer, &v.Country, &v.Amount, &v.Paid, &v.Credited)
	return v, err
}

// Gross returns what was invoiced in each country.
func (s *Service) Gross(ctx context.Context) (map[string]int64, error) {
	return s.byCountry(ctx, `select country, cast(sum(amount) as bigint) from invoices group by country`)
}

// Credit returns what was credited in each country, goodwill included.
func (s *Service) Credit(ctx context.Context) (map[string]int64, error) {
	return s.byCountry(ctx, `select country, cast(sum(units * price) as bigint) from credits group by country`)
}

func (s *Service) byCountry(ctx context.Context, query string) (map[string]int64, error) {
	sums, err := database.Sums(ctx, s.db.DB, query)
	if err != nil {
		return nil, fmt.Errorf("revenue by country: %w", err)
	}
	return sums, nil
}

// A Sum adds up rows of the ledger.
type Sum struct {
	Rows  int64 `json:"rows"`
	Units int64 `json:"units"`
	Value int64 `json:"value"` // tenths of a penny
}

// Sums are those of the papers that are no invoices.
type Sums struct {
	Returns     Sum `json:"returns"`  // credits for returned units
	Goodwill    Sum `json:"goodwill"` // credits for units that are on no order
	Adjustments Sum `json:"adjustments"`
}

// Sums adds up.
func (s *Service) Sums(ctx context.Context) (Sums, error) {
	var sums Sums
	for _, q := range []struct {
		rows string
		sum  *Sum
	}{
		{`credits where invoice is not null`, &sums.Returns},
		{`credits where invoice is null`, &sums.Goodwill},
		{`adjustments`, &sums.Adjustments},
	} {
		err := s.db.QueryRowContext(ctx, `select count(*), cast(coalesce(sum(units), 0) as bigint), cast(coalesce(sum(units * price), 0) as bigint) from `+q.rows).
			Scan(&q.sum.Rows, &q.sum.Units, &q.sum.Value)
		if err != nil {
			return Sums{}, fmt.Errorf("add up %s: %w", q.rows, err)
		}
	}
	return sums, nil
}

// Balance returns what customers have been billed, less credits, adjusted.
func (s *Service) Balance(ctx context.Context) (int64, error) {
	var balance int64
	err := s.db.QueryRowContext(ctx, `select cast(
		(select coalesce(sum(amount), 0) from invoices)
		- (select coalesce(sum(units * price), 0) from credits)
		+ (select coalesce(sum(units * price), 0) from adjustments) as bigint)`).Scan(&balance)
	if err != nil {
		return 0, fmt.Errorf("balance: %w", err)
	}
	return balance, nil
}
