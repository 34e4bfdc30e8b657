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
		SKURegistered:   a.occurrences("SKURegistered"),
		OrderPlaced:     a.occurrences("OrderPlaced"),
		InvoiceIssued:   a.occurrences("InvoiceIssued"),
		PaymentCaptured: a.occurrences("PaymentCaptured"),
	}}
	if err := askOrders(ctx, s.api, &all.Orders); err != nil {
		return nil, err
	}
	if err := askInventory(ctx, s.api, &all.Inventory); err != nil {
		return nil, err
	}
	if err := askBilling(ctx, s.api, &all.Billing); err != nil {
		return nil, err
	}
	return all, nil
}

func askOrders(ctx context.Context, from *api, a *check.OrdersActual) error {
	var r orders.Report
	if err := from.get(ctx, "/orders/-/report", &r); err != nil {
		return err
	}
	a.Gross, a.Orders = r.Gross, make(map[string]check.PlacedOrder)
	for _, v := range r.Orders {
		status := check.Status(v.Status)
		if v.Status == orders.StatusConfirmed && v.Returned > 0 {
			status = check.PartlyCancelled
		}
		a.Orders[v.Order] = check.PlacedOrder{
			Lines: v.Lines, Units: v.Units, Returned: v.Returned, Gross: v.Gross, Status: status,
		}
	}
	return nil
}

func askInventory(ctx context.Context, from *api, a *check.InventoryActual) error {
	var r inventory.Report
	if err := from.get(ctx, "/inventory/-/report", &r); err != nil {
		return err
	}
	a.Waiting, a.Stock = r.Waiting, make(map[string]check.Stock)
	for _, v := range r.Articles {
		a.Stock[v.SKU] = check.Stock{
			Received: v.Received, OnHand: v.OnHand, Lowest: v.Lowest,
			Moves: check.Moves{Sold: v.Sold, Returned: v.Returned, Adjusted: v.Adjusted},
		}
	}
	sums := r.Adjustments
	a.Adjustments = check.Adjustments{
		Invoices: sums.Papers, Rows: sums.RowsLost + sums.RowsFound,
		RowsLost: sums.RowsLost, UnitsLost: sums.UnitsLost,
		RowsFound: sums.RowsFound, UnitsFound: sums.UnitsFound,
		RowsCharged: sums.RowsCharged, UnitsCharged: sums.UnitsCharged,
	}
	return nil
}

func askBilling(ctx context.Context, from *api, a *check.BillingActual) error {
	var r billing.Report
	if err := from.get(ctx, "/billing/-/report", &r); err != nil {
		return err
	}
	a.Gross, a.Credit, a.Balance, a.Invoices = r.Gross, r.Credit, r.Balance, make(map[string]check.Invoice)
	for _, v := range r.Invoices {
		a.Invoices[v.Invoice] = check.Invoice{Amount: v.Amount, Paid: v.Paid, Credited: v.Credited}
	}
	a.Returns, a.Goodwill, a.BillingAdjustments = credits(r.Sums.Returns), credits(r.Sums.Goodwill), credits(r.Sums.Adjustments)
	return nil
}

func credits(s billing.Sum) check.Credits {
	return check.Credits{Count: s.Rows, Units: s.Units, Value: s.Value}
}
