package inventory

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service/servicetest"
	"pgregory.net/rapid"
)

const sku = "85123A"

var (
	goods  = Registered{SKU: sku, Kind: KindGoods, Description: "T-LIGHT HOLDER"}
	charge = Registered{SKU: sku, Kind: KindCharge}
)

func received(units int64) Received { return Received{SKU: sku, Units: units} }
func reserved(order string, units int64) Reserved {
	return Reserved{SKU: sku, Order: order, Units: units}
}
func served(order string, units int64) Reserved {
	return Reserved{SKU: sku, Order: order, Units: units, Waited: true}
}
func short(order string, units, missing int64) Short {
	return Short{SKU: sku, Order: order, Units: units, Missing: missing}
}
func low(available int64) Low { return Low{SKU: sku, Available: available} }
func released(order string, units int64) Released {
	return Released{SKU: sku, Order: order, Note: "C1", Units: units}
}
func adjusted(units int64) Adjusted {
	return Adjusted{SKU: sku, Note: "536", Row: 1, Units: units, Reason: "damages"}
}

func TestDecisions(t *testing.T) {
	type decider = func(State) ([]Event, error)
	noted := adjusted(5)
	noted.Charge = true
	tests := []struct {
		name  string
		given []Event
		when  decider
		then  []Event
	}{
		{"register", nil, register(goods), []Event{goods}},
		{"register again", []Event{goods}, register(goods), nil},

		{"reserve what is there", []Event{goods, received(100)}, reserve(sku, "a", 30), []Event{reserved("a", 30)}},
		{"reserve all there is", []Event{goods, received(100)}, reserve(sku, "a", 100), []Event{reserved("a", 100), low(0)}},
		{"fall below the reorder point", []Event{goods, received(60)}, reserve(sku, "a", 13), []Event{reserved("a", 13), low(47)}},
		{"stay at the reorder point", []Event{goods, received(60)}, reserve(sku, "a", 12), []Event{reserved("a", 12)}},
		{"fall further", []Event{goods, received(60), reserved("a", 13), low(47)}, reserve(sku, "b", 7), []Event{reserved("b", 7)}},
		{"reserve more than there is", []Event{goods, received(10)}, reserve(sku, "a", 30), []Event{short("a", 30, 20)}},
		{"reserve while others wait", []Event{goods, received(10), short("a", 30, 20)}, reserve(sku, "b", 5), []Event{short("b", 5, 5)}},
		{"reserve a charge", []Event{charge}, reserve(sku, "a", 1), nil},

		{"replenish for one who waits", []Event{goods, received(10), short("a", 30, 20)}, replenish(sku),
			[]Event{received(Lot + 20), served("a", 30)}},
		{"replenish for all who wait", []Event{goods, short("a", 30, 30), short("b", 5, 5)}, replenish(sku),
			[]Event{received(Lot + 35), served("a", 30), served("b", 5)}},
		{"replenish what is low", []Event{goods, received(60), reserved("a", 13), low(47)}, replenish(sku), []Event{received(Lot - 47)}},
		{"replenish what is there meanwhile", []Event{goods, received(60), reserved("a", 13), low(47), released("a", 13)}, replenish(sku), nil},
		{"replenish a charge", []Event{charge}, replenish(sku), nil},

		{"release", []Event{goods, received(60), reserved("a", 12)}, release(released("a", 4)), []Event{released("a", 4)}},
		{"release what waits itself", []Event{goods, received(10), short("a", 30, 20)}, release(released("a", 4)),
			[]Event{received(20), served("a", 30), released("a", 4)}},
		{"release for another who waits", []Event{goods, received(10), reserved("a", 10), low(0), short("b", 4, 4)}, release(released("a", 5)),
			[]Event{released("a", 5), served("b", 4)}},
		{"release a charge", []Event{charge}, release(released("a", 1)), nil},

		{"adjust up", []Event{goods}, adjust(adjusted(50)), []Event{adjusted(50)}},
		{"adjust up, still low", []Event{goods}, adjust(adjusted(5)), []Event{adjusted(5), low(5)}},
		{"adjust up for one who waits", []Event{goods, short("a", 3, 3)}, adjust(adjusted(5)), []Event{adjusted(5), served("a", 3)}},
		{"adjust down", []Event{goods, received(100)}, adjust(adjusted(-20)), []Event{adjusted(-20)}},
		{"adjust down what is not there", []Event{goods, received(5)}, adjust(adjusted(-20)), []Event{received(15), adjusted(-20), low(0)}},
		{"adjust a charge", []Event{charge}, adjust(adjusted(5)), []Event{noted}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			when := servicetest.For(t, newAggregate()).Given(test.given...).When(test.when)
			if test.then == nil {
				when.ThenNothing()
				return
			}
			when.Then(test.then...)
		})
	}
}

func TestUnknownSKUIsRefused(t *testing.T) {
	for name, decide := range map[string]func(State) ([]Event, error){
		"reserve": reserve(sku, "a", 1), "replenish": replenish(sku),
		"release": release(released("a", 1)), "adjust": adjust(adjusted(1)),
	} {
		t.Run(name, func(t *testing.T) {
			servicetest.For(t, newAggregate()).When(decide).ThenError(ErrUnknownSKU)
		})
	}
}

func TestReplenishServesAsManyAsOneAppendTakes(t *testing.T) {
	given := []Event{goods}
	for i := range maxServed + 10 {
		given = append(given, short(fmt.Sprint(i), 1, 1))
	}
	servicetest.For(t, newAggregate()).Given(given...).When(replenish(sku)).ThenState(func(t testing.TB, s State) {
		if len(s.Waiting) != 10 {
			t.Errorf("%d orders wait, want 10", len(s.Waiting))
		}
	})
}

// TestStockIsNeverNegative carries out any commands in any order.
func TestStockIsNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := evolve(State{}, goods)
		sold, orders := map[string]int64{}, 0
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			decide := replenish(sku)
			switch rapid.IntRange(0, 3).Draw(t, "command") {
			case 0:
				orders++
				order, units := fmt.Sprint(orders), rapid.Int64Range(1, 600).Draw(t, "units")
				sold[order] = units
				decide = reserve(sku, order, units)
			case 1:
				if orders == 0 {
					continue
				}
				order := fmt.Sprint(rapid.IntRange(1, orders).Draw(t, "order"))
				if sold[order] == 0 {
					continue
				}
				units := rapid.Int64Range(1, sold[order]).Draw(t, "returned")
				sold[order] -= units
				decide = release(released(order, units))
			case 2:
				units := rapid.Int64Range(-500, 500).Draw(t, "adjusted")
				if units == 0 {
					continue
				}
				decide = adjust(adjusted(units))
			}
			events, err := decide(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if s = evolve(s, e); s.Available < 0 {
					t.Fatalf("%d units available after %+v", s.Available, e)
				}
			}
			var wanted int64
			for _, w := range s.Waiting {
				wanted += w.Units
			}
			if wanted != s.Wanted {
				t.Fatalf("Wanted is %d, orders wait for %d", s.Wanted, wanted)
			}
		}
		events, err := replenish(sku)(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			s = evolve(s, e)
		}
		if len(s.Waiting) > 0 {
			t.Fatalf("%d orders wait after replenishment", len(s.Waiting))
		}
	})
}

func TestCheckNamesTheField(t *testing.T) {
	tests := []struct {
		field string
		check func() error
	}{
		{"sku", Registered{Kind: KindGoods}.check},
		{"description", Registered{SKU: sku, Kind: KindGoods, Description: strings.Repeat("x", MaxText+1)}.check},
		{"kind", Registered{SKU: sku, Kind: "gas"}.check},
		{"sku", Adjusted{Note: "1", Units: 1}.check},
		{"note", Adjusted{SKU: sku, Units: 1}.check},
		{"units", Adjusted{SKU: sku, Note: "1"}.check},
		{"units", Adjusted{SKU: sku, Note: "1", Units: -MaxUnits - 1}.check},
		{"reason", Adjusted{SKU: sku, Note: "1", Units: 1, Reason: "\xff"}.check},
	}
	for _, test := range tests {
		t.Run(test.field, func(t *testing.T) {
			invalid, ok := errors.AsType[*leat.InvalidError](test.check())
			if !ok || invalid.Field != test.field {
				t.Errorf("check says %v, want an InvalidError of %s", test.check(), test.field)
			}
		})
	}
}
