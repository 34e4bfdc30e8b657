package billing

import (
	"context"
	"database/sql"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/sqlite"
)

// applyLedger writes what an event changes in the ledger.
func applyLedger(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
	if err := trace.Record(ctx, tx, r); err != nil {
		return err
	}
	switch e := e.(type) {
	case Issued:
		_, err := sqlite.Exec(ctx, tx, `insert into invoices (number, customer, country, amount) values (?, ?, ?, ?)`,
			e.Invoice, e.Customer, e.Country, e.Amount)
		return err
	case Captured:
		_, err := sqlite.Exec(ctx, tx, `update invoices set paid = paid + ? where number = ?`, e.Amount, e.Invoice)
		return err
	case Credited:
		_, err := sqlite.Exec(ctx, tx, `update invoices set credited = credited + ? where number = ?`, e.Amount, e.Invoice)
		if err != nil {
			return err
		}
		return insertCredits(ctx, tx, e.Note, e.Invoice, e.Country, e.Credits)
	case GoodwillGranted:
		return insertCredits(ctx, tx, e.Note, nil, e.Country, e.Credits)
	case BalanceAdjusted:
		return insertCorrections(ctx, tx, e)
	}
	return nil
}

func insertCredits(ctx context.Context, tx *sql.Tx, note string, invoice any, country string, credits []Credit) error {
	for _, c := range credits {
		_, err := sqlite.Exec(ctx, tx,
			`insert into credits (note, row, part, invoice, country, sku, units, price) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			note, c.Row, c.Part, invoice, country, c.SKU, c.Units, c.Price)
		if err != nil {
			return err
		}
	}
	return nil
}

func insertCorrections(ctx context.Context, tx *sql.Tx, a BalanceAdjusted) error {
	for i, c := range a.Corrections {
		_, err := sqlite.Exec(ctx, tx,
			`insert into adjustments (number, row, country, reason, units, price) values (?, ?, ?, ?, ?, ?)`,
			a.Number, i+1, a.Country, c.Reason, c.Units, c.Price)
		if err != nil {
			return err
		}
	}
	return nil
}
