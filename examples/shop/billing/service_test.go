package billing

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/leathq/leat/examples/shop/shoptest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fields map[string]any

func open(t *testing.T) (*Service, *shoptest.House) {
	h := shoptest.New(t)
	s, err := Open(t.Context(), h.Log, filepath.Join(t.TempDir(), "billing.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h.Run(s.Runners()...)
	return s, h
}

func placedBy(order string, units int) fields {
	return fields{"order": order, "customer": "17850", "country": "France", "lines": []fields{{"sku": "85123A", "units": units, "price": 2550}}}
}

func TestOrderIsInvoicedPaidAndCredited(t *testing.T) {
	s, h := open(t)
	h.Record("order-1", "OrderPlaced", placedBy("1", 6))
	h.Record("order-1", "UnitsReturned", fields{"order": "1", "note": "C1", "country": "Spain", "pieces": []fields{
		{"row": 1, "part": 1, "sku": "85123A", "units": 2, "price": 3000}, {"row": 1, "part": 2, "sku": "85123A", "units": 1, "price": 3000},
	}})
	want := []string{"InvoiceIssued", "PaymentCaptured", "CreditNoteIssued"}
	if got := h.Types("invoice-1"); !slices.Equal(got, want) {
		t.Errorf("the invoice has the events %q, want %q", got, want)
	}
	v, err := s.Get(t.Context(), "1")
	if len(v.Events) != 3 || v.Events[2].Type != "CreditNoteIssued" || v.Events[2].CausedBy != "UnitsReturned" {
		t.Errorf("the view's events are %+v, want 3, the last a credit note caused by UnitsReturned", v.Events)
	}
	v.Events = nil
	wantView := View{Invoice: "1", Customer: "17850", Country: "France", Amount: 15300, Paid: 15300, Credited: 9000}
	if err != nil || !reflect.DeepEqual(v, wantView) {
		t.Errorf("the view is %+v, %v; want %+v", v, err, wantView)
	}
	credit, err := s.Credit(t.Context())
	if err != nil || len(credit) != 1 || credit["Spain"] != 9000 {
		t.Errorf("credits are %v, %v; want 9000 in Spain", credit, err)
	}
}

func TestSums(t *testing.T) {
	s, h := open(t)
	h.Record("order-1", "OrderPlaced", placedBy("1", 6))
	for range 2 { // the second time changes nothing
		if err := s.GrantGoodwill(t.Context(), goodwill); err != nil {
			t.Fatal(err)
		}
		if err := s.AdjustBalance(t.Context(), badDebt); err != nil {
			t.Fatal(err)
		}
	}
	h.Settle()
	sums, err := s.Sums(t.Context())
	want := Sums{Goodwill: Sum{Rows: 1, Units: 3, Value: 3}, Adjustments: Sum{Rows: 1, Units: 1, Value: -11_062_060}}
	if err != nil || sums != want {
		t.Errorf("the sums are %+v, %v; want %+v", sums, err, want)
	}
	if balance, err := s.Balance(t.Context()); err != nil || balance != 15300-3-11_062_060 {
		t.Errorf("the balance is %d, %v; want %d", balance, err, 15300-3-11_062_060)
	}
}

// TestHostileOrderIsParked: what other services record is not trusted either.
func TestHostileOrderIsParked(t *testing.T) {
	s, h := open(t)
	h.Record("order-1", "OrderPlaced", placedBy("1", -6))
	h.Record("order-2", "OrderPlaced", placedBy("2", 6))
	if n := h.Parked(); n != 1 {
		t.Errorf("%d events are parked, want the one of order 1", n)
	}
	if _, err := s.Get(t.Context(), "2"); err != nil {
		t.Errorf("invoice of order 2: %v", err)
	}
}
