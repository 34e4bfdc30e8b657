package orders

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/leathq/leat/examples/shop/shoptest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fields map[string]any

// open runs the service with the articles of the order placed in its catalogue.
func open(t *testing.T) (*Service, *shoptest.House) {
	h := shoptest.New(t)
	s, err := Open(t.Context(), h.Log, filepath.Join(t.TempDir(), "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h.Run(s.Runners()...)
	for _, l := range placed.Lines {
		kind := "goods"
		if l.Charge {
			kind = "charge"
		}
		h.Record("sku-"+l.SKU, "SKURegistered", fields{"sku": l.SKU, "kind": kind})
	}
	return s, h
}

func TestConfirmedWhenReservedAndInvoiced(t *testing.T) {
	reserve := func(h *shoptest.House, sku string) {
		h.Record("sku-"+sku, "StockReserved", fields{"sku": sku, "order": "536365", "units": 1})
	}
	steps := map[string]func(*Service, *shoptest.House){
		"place": func(s *Service, h *shoptest.House) {
			if err := s.Place(t.Context(), placed); err != nil {
				t.Fatal(err)
			}
			h.Settle()
		},
		"reserve the first": func(_ *Service, h *shoptest.House) { reserve(h, "85123A") },
		"reserve the last":  func(_ *Service, h *shoptest.House) { reserve(h, "71053") },
		"invoice": func(_ *Service, h *shoptest.House) {
			h.Record("invoice-536365", "InvoiceIssued", fields{"invoice": "536365"})
		},
	}
	// The events of other services come when they come, even before the order.
	orders := [][]string{
		{"place", "reserve the first", "reserve the last", "invoice"},
		{"place", "invoice", "reserve the last", "reserve the first"},
		{"invoice", "reserve the first", "reserve the last", "place"},
		{"reserve the last", "place", "invoice", "reserve the first"},
	}
	for _, order := range orders {
		t.Run(order[0]+" first, "+order[3]+" last", func(t *testing.T) {
			s, h := open(t)
			for i, step := range order {
				steps[step](s, h)
				want := []string{"OrderPlaced", "OrderConfirmed"}
				switch {
				case !slices.Contains(order[:i+1], "place"):
					want = nil
				case i < len(order)-1:
					want = want[:1]
				}
				if got := h.Types("order-536365"); !slices.Equal(got, want) {
					t.Fatalf("after %q the order has the events %q, want %q", step, got, want)
				}
			}
			v, err := s.Get(t.Context(), "536365")
			if err != nil || v.Status != StatusConfirmed {
				t.Errorf("the view is %+v, %v; want a confirmed order", v, err)
			}
			if c, err := s.Count(t.Context()); err != nil || c.Waiting != 0 || c.Settled != 1 {
				t.Errorf("the counts are %+v, %v; want one settled and none waiting", c, err)
			}
		})
	}
}

func TestRepeatedCommandsRecordNothing(t *testing.T) {
	s, h := open(t)
	back := returned(Piece{Line: 1, SKU: "85123A", Units: 2, Price: 1, Row: 1, Part: 1})
	for range 3 {
		if err := s.Place(t.Context(), placed); err != nil {
			t.Fatal(err)
		}
		if err := s.Return(t.Context(), back); err != nil {
			t.Fatal(err)
		}
	}
	h.Settle()
	if got, want := h.Types("order-536365"), []string{"OrderPlaced", "UnitsReturned"}; !slices.Equal(got, want) {
		t.Errorf("the order has the events %q, want %q", got, want)
	}
	v, err := s.Get(t.Context(), "536365")
	if err != nil || v.Units != 15 || v.Returned != 2 || v.Gross != 60420 {
		t.Errorf("the view is %+v, %v; want 15 units, 2 returned, gross 60420", v, err)
	}
}
