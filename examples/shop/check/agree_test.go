package check_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/retail"
)

// A shop that does what the plan says, no more and no less, is found faultless:
// two readings of the rules, written apart, agree on every order and article.
func TestPlanAgrees(t *testing.T) {
	for seed := range uint64(30) {
		var file bytes.Buffer
		if err := retail.Generate(&file, seed, 300); err != nil {
			t.Fatal(err)
		}
		e, err := check.Expect(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := retail.Read("generated", &file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range failed(check.Compare(e, carryOut(plan))) {
			t.Errorf("seed %d: %s: expected %s, got %s", seed, r.Name, r.Expected, r.Actual)
		}
	}
}

func TestPlanAgreesOnRealFile(t *testing.T) {
	if _, err := os.Stat(realFile); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real order file is not here:", realFile)
	}
	e, err := check.ExpectFile(realFile)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := retail.ReadFile(realFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range failed(check.Compare(e, carryOut(plan))) {
		t.Errorf("%s: expected %s, got %s", r.Name, r.Expected, r.Actual)
	}
}

// shop does what steps say, in maps.
type shop struct{ actual *check.Actual }

func carryOut(plan *retail.Plan) *check.Actual {
	s := shop{&check.Actual{
		Orders:    check.OrdersActual{Orders: map[string]check.PlacedOrder{}, Gross: map[string]int64{}},
		Inventory: check.InventoryActual{Stock: map[string]check.Stock{}},
		Billing:   check.BillingActual{Invoices: map[string]check.Invoice{}, Credit: map[string]int64{}},
	}}
	articles := int64(len(plan.Catalogue))
	s.actual.Log.SKURegistered = check.Occurrences{Events: articles, Of: articles}
	for _, step := range plan.Steps {
		switch step := step.(type) {
		case *retail.Order:
			s.order(step)
		case *retail.Adjustment:
			s.adjust(step)
		case *retail.BillingAdjustment:
			for _, l := range step.Lines {
				add(&s.actual.Billing.BillingAdjustments, l.Quantity, l.Amount())
				s.actual.Billing.Balance += l.Amount()
			}
		case *retail.Cancellation:
			for _, p := range step.Pieces {
				s.cancel(step.Country, p)
			}
		}
	}
	s.actual.Billing.Gross = s.actual.Orders.Gross
	return s.actual
}

func (s *shop) order(o *retail.Order) {
	placed := check.PlacedOrder{Lines: int64(len(o.Lines)), Status: check.Confirmed}
	for _, l := range o.Lines {
		placed.Units += l.Quantity
		placed.Gross += l.Amount()
		s.move(l.SKU, check.Moves{Sold: l.Quantity})
	}
	a := s.actual
	a.Orders.Orders[o.Invoice] = placed
	a.Orders.Gross[o.Country] += placed.Gross
	a.Billing.Invoices[o.Invoice] = check.Invoice{Amount: placed.Gross, Paid: placed.Gross}
	a.Billing.Balance += placed.Gross
	for _, once := range []*check.Occurrences{&a.Log.OrderPlaced, &a.Log.InvoiceIssued, &a.Log.PaymentCaptured} {
		once.Events++
		once.Of++
	}
}

func (s *shop) adjust(adjustment *retail.Adjustment) {
	a := &s.actual.Inventory.Adjustments
	a.Invoices++
	for _, c := range adjustment.Changes {
		a.Rows++
		if c.Quantity > 0 {
			a.RowsFound++
			a.UnitsFound += c.Quantity
		} else {
			a.RowsLost++
			a.UnitsLost += c.Quantity
		}
		if c.Charge {
			a.RowsCharged++
			a.UnitsCharged += c.Quantity
		}
		s.move(c.SKU, check.Moves{Adjusted: c.Quantity})
	}
}

func (s *shop) cancel(country string, p retail.Piece) {
	billing := &s.actual.Billing
	billing.Credit[country] += p.Amount()
	billing.Balance -= p.Amount()
	if p.Goodwill() {
		add(&billing.Goodwill, p.Units, p.Amount())
		return
	}
	add(&billing.Returns, p.Units, p.Amount())
	invoice := billing.Invoices[p.Order]
	invoice.Credited += p.Amount()
	billing.Invoices[p.Order] = invoice
	s.move(p.SKU, check.Moves{Returned: p.Units})

	orders := s.actual.Orders.Orders
	o := orders[p.Order]
	o.Returned += p.Units
	o.Status = check.PartlyCancelled
	if o.Returned == o.Units {
		o.Status = check.Cancelled
	}
	orders[p.Order] = o
}

func add(c *check.Credits, units, value int64) {
	c.Count++
	c.Units += units
	c.Value += value
}

// move receives what is missing before it takes anything away.
func (s *shop) move(sku string, m check.Moves) {
	if retail.IsCharge(sku) {
		return
	}
	stock := s.actual.Inventory.Stock[sku]
	change := m.Returned + m.Adjusted - m.Sold
	missing := max(0, -stock.OnHand-change)
	stock.Received += missing
	stock.OnHand += missing + change
	stock.Sold += m.Sold
	stock.Returned += m.Returned
	stock.Adjusted += m.Adjusted
	s.actual.Inventory.Stock[sku] = stock
}
