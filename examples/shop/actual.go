package main

import (
	"context"

	"github.com/leathq/leat/examples/shop/billing"
	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/inventory"
	"github.com/leathq/leat/examples/shop/orders"
)

// actual asks the services, each of which answers from its own database, and
// takes over what the audit found in the log.
func (s *shop) actual(ctx context.Context, a *audit) (*check.Actual, error) {
	all := &check.Actual{Log: check.LogActual{
		OrderPlaced:     a.occurrences("OrderPlaced"),
		InvoiceIssued:   a.occurrences("InvoiceIssued"),
		PaymentCaptured: a.occurrences("PaymentCaptured"),
	}}
	if err := askOrders(ctx, s.orders, &all.Orders); err != nil {
		return nil, err
	}
	if err := askInventory(ctx, s.inventory, &all.Inventory); err != nil {
		return nil, err
	}
	if err := askBilling(ctx, s.billing, &all.Billing); err != nil {
		return nil, err
	}
	return all, nil
}

func askOrders(ctx context.Context, s *orders.Service, a *check.OrdersActual) (err error) {
	a.Orders = make(map[string]check.PlacedOrder)
	err = s.All(ctx, func(v orders.View) error {
		status := check.Status(v.Status)
		if v.Status == orders.StatusConfirmed && v.Returned > 0 {
			status = check.PartlyCancelled
		}
		a.Orders[v.Order] = check.PlacedOrder{
			Lines: v.Lines, Units: v.Units, Returned: v.Returned, Gross: v.Gross, Status: status,
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.Gross, err = s.Gross(ctx)
	return err
}

func askInventory(ctx context.Context, s *inventory.Service, a *check.InventoryActual) (err error) {
	a.Stock = make(map[string]check.Stock)
	err = s.All(ctx, func(v inventory.View) error {
		a.Stock[v.SKU] = check.Stock{
			Received: v.Received, OnHand: v.OnHand, Lowest: v.Lowest,
			Moves: check.Moves{Sold: v.Sold, Returned: v.Returned, Adjusted: v.Adjusted},
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.Waiting, err = s.Waiting(ctx); err != nil {
		return err
	}
	sums, err := s.Adjustments(ctx)
	a.Adjustments = check.Adjustments{
		Invoices: sums.Papers, Rows: sums.RowsLost + sums.RowsFound,
		RowsLost: sums.RowsLost, UnitsLost: sums.UnitsLost,
		RowsFound: sums.RowsFound, UnitsFound: sums.UnitsFound,
		RowsCharged: sums.RowsCharged, UnitsCharged: sums.UnitsCharged,
	}
	return err
}

func askBilling(ctx context.Context, s *billing.Service, a *check.BillingActual) (err error) {
	a.Invoices = make(map[string]check.Invoice)
	err = s.All(ctx, func(v billing.View) error {
		a.Invoices[v.Invoice] = check.Invoice{Amount: v.Amount, Paid: v.Paid, Credited: v.Credited}
		return nil
	})
	if err != nil {
		return err
	}
	if a.Gross, err = s.Gross(ctx); err != nil {
		return err
	}
	if a.Credit, err = s.Credit(ctx); err != nil {
		return err
	}
	sums, err := s.Sums(ctx)
	if err != nil {
		return err
	}
	a.Returns, a.Goodwill, a.BillingAdjustments = credits(sums.Returns), credits(sums.Goodwill), credits(sums.Adjustments)
	a.Balance, err = s.Balance(ctx)
	return err
}

func credits(s billing.Sum) check.Credits {
	return check.Credits{Count: s.Rows, Units: s.Units, Value: s.Value}
}
