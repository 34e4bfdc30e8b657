package inventory

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leathq/leat/examples/shop/shoptest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fields map[string]any

func open(t *testing.T) (*Service, *shoptest.House) {
	h := shoptest.New(t)
	s, err := Open(t.Context(), h.Log, filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h.Run(s.Runners()...)
	for _, r := range []Registered{goods, {SKU: "POST", Kind: KindCharge}} {
		if err := s.Register(t.Context(), r, "register"); err != nil {
			t.Fatal(err)
		}
		h.Await("sku-" + r.SKU)
	}
	return s, h
}

func TestRegisterAgain(t *testing.T) {
	s, err := Open(t.Context(), shoptest.New(t).Log, filepath.Join(t.TempDir(), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, id := range []string{"first", "first", "another"} {
		if err := s.Register(t.Context(), goods, id); err != nil {
			t.Errorf("register as event %q: %v", id, err)
		}
	}
	if err := s.Register(t.Context(), charge, "charge"); !errors.Is(err, ErrRegistered) {
		t.Errorf("register goods as a charge: %v, want ErrRegistered", err)
	}
	events, err := s.outbox.Take(t.Context(), "test", "test", time.Minute, 10, nil)
	if err != nil || len(events) != 1 || events[0].ID != "first" || events[0].Stream != "sku-"+sku {
		t.Errorf("the outbox holds %+v, %v; want the one event that the SKU was registered", events, err)
	}
}

func TestOrderIsShortThenReservedThenReturned(t *testing.T) {
	s, h := open(t)
	h.Record("order-1", "OrderPlaced", fields{"order": "1", "lines": []fields{
		{"sku": sku, "units": 6}, {"sku": "POST", "units": 1}, {"sku": sku, "units": 4},
	}})
	h.Record("order-1", "UnitsReturned", fields{"order": "1", "note": "C1", "pieces": []fields{
		{"sku": sku, "units": 1}, {"sku": sku, "units": 2}, {"sku": "POST", "units": 1},
	}})
	want := []string{"SKURegistered", "StockShort", "StockLow", "StockReceived", "StockReserved", "StockReleased"}
	if got := h.Types("sku-" + sku); !slices.Equal(got, want) {
		t.Errorf("the SKU has the events %q, want %q", got, want)
	}
	if got, want := h.Types("sku-POST"), []string{"SKURegistered"}; !slices.Equal(got, want) {
		t.Errorf("the charge has the events %q, want %q", got, want)
	}
	v, err := s.Get(t.Context(), sku)
	if v.Last.Type != "StockReleased" || v.Last.CausedBy != "UnitsReturned" {
		t.Errorf("the last change is %+v, want a release caused by UnitsReturned", v.Last)
	}
	v.Last = Change{}
	wantView := View{SKU: sku, Kind: KindGoods, Description: goods.Description, Received: Lot + 10, Sold: 10, Returned: 3, OnHand: Lot + 3}
	if err != nil || v != wantView {
		t.Errorf("the view is %+v, %v; want %+v", v, err, wantView)
	}
	if units, err := s.Waiting(t.Context()); err != nil || units != 0 {
		t.Errorf("orders wait for %d units, %v; want none", units, err)
	}
}

func TestAdjustments(t *testing.T) {
	s, h := open(t)
	for range 2 { // the second time changes nothing
		for i, a := range []Adjusted{{SKU: sku, Units: -5, Reason: "damages"}, {SKU: sku, Units: 7}, {SKU: "POST", Units: 3}} {
			a.Note, a.Row = "536", i+1
			if err := s.Adjust(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Settle()
	got, err := s.Adjustments(t.Context())
	want := Adjustments{Papers: 1, RowsLost: 1, UnitsLost: -5, RowsFound: 2, UnitsFound: 10, RowsCharged: 1, UnitsCharged: 3}
	if err != nil || got != want {
		t.Errorf("the adjustments are %+v, %v; want %+v", got, err, want)
	}
	if v, err := s.Get(t.Context(), sku); err != nil || v.Adjusted != 2 || v.OnHand != v.Received+2 || v.Lowest != 0 {
		t.Errorf("the view is %+v, %v; want 2 adjusted and never below zero", v, err)
	}
}

func TestOrderOfAnUnknownSKUIsParked(t *testing.T) {
	_, h := open(t)
	h.Record("order-1", "OrderPlaced", fields{"order": "1", "lines": []fields{{"sku": "none", "units": 1}}})
	h.Record("order-2", "OrderPlaced", fields{"order": "2", "lines": []fields{{"sku": sku, "units": 1}}})
	if n := h.Parked(); n != 1 {
		t.Errorf("%d events are parked, want the one of order 1", n)
	}
	if types := h.Types("sku-" + sku); !slices.Contains(types, "StockReserved") {
		t.Errorf("the SKU has the events %q, want that order 2 was reserved", types)
	}
}
