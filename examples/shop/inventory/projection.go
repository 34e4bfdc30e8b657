package inventory

import (
	"context"
	"database/sql"

	"github.com/leathq/leat"
	"github.com/leathq/leat/sqlite"
)

// applyStock writes what an event changes in the stock.
func applyStock(ctx context.Context, tx *sql.Tx, e Event, _ leat.Recorded) error {
	switch e := e.(type) {
	case Registered:
		_, err := sqlite.Exec(ctx, tx, `insert into stock (sku, kind, description) values (?, ?, ?)`, e.SKU, e.Kind, e.Description)
		return err
	case Received:
		_, err := sqlite.Exec(ctx, tx, `update stock set received = received + ?1, on_hand = on_hand + ?1 where sku = ?2`, e.Units, e.SKU)
		return err
	case Reserved:
		return applyReserved(ctx, tx, e)
	case Short:
		_, err := sqlite.Exec(ctx, tx, `insert into waiting (sku, number, units) values (?, ?, ?)`, e.SKU, e.Order, e.Units)
		return err
	case Released:
		_, err := sqlite.Exec(ctx, tx, `update stock set returned = returned + ?1, on_hand = on_hand + ?1 where sku = ?2`, e.Units, e.SKU)
		return err
	case Adjusted:
		return applyAdjusted(ctx, tx, e)
	}
	return nil
}

func applyReserved(ctx context.Context, tx *sql.Tx, e Reserved) error {
	_, err := sqlite.Exec(ctx, tx,
		`update stock set sold = sold + ?1, on_hand = on_hand - ?1, lowest = min(lowest, on_hand - ?1) where sku = ?2`, e.Units, e.SKU)
	if err != nil || !e.Waited {
		return err
	}
	_, err = sqlite.Exec(ctx, tx, `delete from waiting where sku = ? and number = ?`, e.SKU, e.Order)
	return err
}

func applyAdjusted(ctx context.Context, tx *sql.Tx, e Adjusted) error {
	_, err := sqlite.Exec(ctx, tx, `insert into adjustments (note, line, sku, units, reason, charge) values (?, ?, ?, ?, ?, ?)`,
		e.Note, e.Row, e.SKU, e.Units, e.Reason, e.Charge)
	if err != nil || e.Charge {
		return err
	}
	_, err = sqlite.Exec(ctx, tx,
		`update stock set adjusted = adjusted + ?1, on_hand = on_hand + ?1, lowest = min(lowest, on_hand + ?1) where sku = ?2`, e.Units, e.SKU)
	return err
}
