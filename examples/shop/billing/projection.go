package billing

import (
	"context"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
)

// applyLedger writes what an event changes in the ledger.
func applyLedger(ctx context.Context, exec database.Exec, e Event, r leat.Recorded) error {
	if err := trace.Record(ctx, exec, r); err != nil {
		return err
	}
	switch e := e.(type) {
	case Issued:
		return exec(ctx, `insert into invoices (number, customer, country, amount) values ($1, $2, $3, $4)`,
			e.Invoice, e.Customer, e.Country, e.Amount)
	case Captured:
		return exec(ctx, `update invoices set paid = paid + $1 where number = $2`, e.Amount, e.Invoice)
	case Credited:
		err := exec(ctx, `update invoices set credited = credited + $1 where number = $2`, e.Amount, e.Invoice)
		if err != nil {
			return err
		}
		return insertCredits(ctx, exec, e.Note, e.Invoice, e.Country, e.Credits)
	case GoodwillGranted:
		return insertCredits(ctx, exec, e.Note, nil, e.Country, e.Credits)
	case BalanceAdjusted:
		return insertCorrections(ctx, exec, e)
	}
	return nil
}

func insertCredits(ctx context.Context, exec database.Exec, note string, invoice any, country string, credits []Credit) error {
	for _, c := range credits {
		err := exec(ctx,
			`insert into credits (note, row, part, invoice, country, sku, units, price) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			note, c.Row, c.Part, invoice, country, c.SKU, c.Units, c.Price)
		if err != nil {
			return err
		}
	}
	return nil
}

func insertCorrections(ctx context.Context, exec database.Exec, a BalanceAdjusted) error {
	for i, c := range a.Corrections {
		err := exec(ctx,
			`insert into adjustments (number, row, country, reason, units, price) values ($1, $2, $3, $4, $5, $6)`,
			a.Number, i+1, a.Country, c.Reason, c.Units, c.Price)
		if err != nil {
			return err
		}
	}
	return nil
}
