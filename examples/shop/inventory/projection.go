package inventory

import (
	"context"
	"database/sql"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/sqlite"
)

// applyStock writes what an event changes in the stock.
func applyStock(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
	switch e := e.(type) {
	case Registered:
		_, err := sqlite.Exec(ctx, tx,
			`insert into stock (event, version, type, cause, correlation, kind, description, sku) values (?, ?, ?, ?, ?, ?, ?, ?)`,
			changed(r, e.Kind, e.Description, e.SKU)...)
		return err
	case Received:
		_, err := sqlite.Exec(ctx, tx, update+`, received = received + ?6, on_hand = on_hand + ?6 where sku = ?7`,
			changed(r, e.Units, e.SKU)...)
		return err
	case Reserved:
		return applyReserved(ctx, tx, e, r)
	case Short:
		_, err := sqlite.Exec(ctx, tx, `insert into waiting (sku, number, units) values (?, ?, ?)`, e.SKU, e.Order, e.Units)
		return err
	case Released:
		_, err := sqlite.Exec(ctx, tx, update+`, returned = returned + ?6, on_hand = on_hand + ?6 where sku = ?7`,
			changed(r, e.Units, e.SKU)...)
		return err
	case Adjusted:
		return applyAdjusted(ctx, tx, e, r)
	}
	return nil
}

func applyReserved(ctx context.Context, tx *sql.Tx, e Reserved, r leat.Recorded) error {
	_, err := sqlite.Exec(ctx, tx,
		update+`, sold = sold + ?6, on_hand = on_hand - ?6, lowest = min(lowest, on_hand - ?6) where sku = ?7`,
		changed(r, e.Units, e.SKU)...)
	if err != nil || !e.Waited {
		return err
	}
	_, err = sqlite.Exec(ctx, tx, `delete from waiting where sku = ? and number = ?`, e.SKU, e.Order)
	return err
}

func applyAdjusted(ctx context.Context, tx *sql.Tx, e Adjusted, r leat.Recorded) error {
	_, err := sqlite.Exec(ctx, tx, `insert into adjustments (note, line, sku, units, reason, charge) values (?, ?, ?, ?, ?, ?)`,
		e.Note, e.Row, e.SKU, e.Units, e.Reason, e.Charge)
	if err != nil || e.Charge {
		return err
	}
	_, err = sqlite.Exec(ctx, tx,
		update+`, adjusted = adjusted + ?6, on_hand = on_hand + ?6, lowest = min(lowest, on_hand + ?6) where sku = ?7`,
		changed(r, e.Units, e.SKU)...)
	return err
}

// update notes which event changes an article. Its first arguments are those of
// changed.
const update = `update stock set event = ?1, version = ?2, type = ?3, cause = ?4, correlation = ?5`

// changed returns the arguments of a change, and then more.
func changed(r leat.Recorded, more ...any) []any {
	return append([]any{r.ID, int64(r.Version), r.Type, r.Meta.Get(leat.MetaCausation), trace.Correlation(r)}, more...)
}
