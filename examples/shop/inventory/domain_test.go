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
func low(left int64) Low { return Low{SKU: sku, Left: left} }
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
		{"reserve what is there", []Event{goods, received(100)}, reserve(sku, "a", 30), []Event{reserved("a", 30)}},
		{"reserve all there is", []Event{goods, received(100)}, reserve(sku, "a", 100), []Event{reserved("a", 100), low(0)}},
		{"fall below the reorder point", []Event{goods, received(60)}, reserve(sku, "a", 13), []Event{reserved("a", 13), low(47)}},
		{"stay at the reorder point", []Event{goods, received(60)}, reserve(sku, "a", 12), []Event{reserved("a", 12)}},
		{"fall further", []Event{goods, received(60), reserved("a", 13), low(47)}, reserve(sku, "b", 7), []Event{reserved("b", 7)}},
		{"reserve more than there is", []Event{goods, received(10)}, reserve(sku, "a", 30), []Event{short("a", 30, 20), low(-20)}},
		{"reserve while others wait", []Event{goods, received(10), short("a", 30, 20), low(-20)}, reserve(sku, "b", 5), []Event{short("b", 5, 5)}},
		{"reserve a charge", []Event{charge}, reserve(sku, "a", 1), nil},

		{"replenish for one who waits", []Event{goods, received(10), short("a", 30, 20)}, replenish(sku),
			[]Event{received(Lot + 20), served("a", 30)}},
		{"replenish for all who wait", []Event{goods, short("a", 30, 30), short("b", 5, 5)}, replenish(sku),
			[]Event{received(Lot + 35), served("a", 30), served("b", 5)}},
		{"replenish what is low", []Event{goods, received(60), reserved("a", 13), low(47)}, replenish(sku), []Event{received(Lot - 47)}},
		{"replenish what is there meanwhile", []Event{goods, received(60), reserved("a", 13), low(47), released("a", 13)}, replenish(sku), nil},
		{"fall again after that", []Event{goods, received(60), reserved("a", 13), low(47), released("a", 13)}, reserve(sku, "b", 20),
			[]Event{reserved("b", 20), low(40)}},
		{"replenish a charge", []Event{charge}, replenish(sku), nil},

		{"release", []Event{goods, received(60), reserved("a", 12)}, release(released("a", 4)), []Event{released("a", 4)}},
		{"release what waits itself", []Event{goods, received(10), short("a", 30, 20)}, release(released("a", 4)),
			[]Event{received(20), served("a", 30), released("a", 4), low(4)}},
		{"release for another who waits", []Event{goods, received(10), reserved("a", 10), low(0), short("b", 4, 4)}, release(released("a", 5)),
			[]Event{released("a", 5), served("b", 4)}},
		{"release a charge", []Event{charge}, release(released("a", 1)), nil},

		{"adjust up", []Event{goods}, adjust(adjusted(50)), []Event{adjusted(50)}},
		{"adjust up, still low", []Event{goods}, adjust(adjusted(5)), []Event{adjusted(5), low(5)}},
		{"adjust up for one who waits", []Event{goods, short("a", 3, 3)}, adjust(adjusted(5)), []Event{adjusted(5), served("a", 3), low(2)}},
		{"adjust down", []Event{goods, received(100)}, adjust(adjusted(-20)), []Event{adjusted(-20)}},
		{"adjust down what is not there", []Event{goods, received(5)}, adjust(adjusted(-20)), []Event{received(15), adjusted(-20), low(0)}},
		{"adjust a charge", []Event{charge}, adjust(adjusted(5)), []Event{noted}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			when := servicetest.For(t, newAggregate(nil)).Given(test.given...).When(test.when)
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
			servicetest.For(t, newAggregate(nil)).When(decide).ThenError(ErrUnknownSKU)
		})
	}
}

func TestReplenishServesAsManyAsOneAppendTakes(t *testing.T) {
	given := []Event{goods}
	for i := range maxServed + 10 {
		given = append(given, short(fmt.Sprint(i), 1, 1))
	}
	servicetest.For(t, newAggregate(nil)).Given(given...).When(replenish(sku)).ThenState(func(t testing.TB, s State) {
		if len(s.Waiting) != 10 || !s.Told {
			t.Errorf("%d orders wait and Told is %t, want 10 and to be called again", len(s.Waiting), s.Told)
		}
	})
}

// TestNobodyWaitsForever carries out any commands in any order, answers every
// Low at some time after it, and expects that stock was never negative and that
// in the end nobody waits and the stock is replenished.
func TestNobodyWaitsForever(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, state: evolve(State{}, goods), held: map[string]int64{}}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			m.any()
		}
		for m.unanswered > 0 {
			m.answer()
		}
		if len(m.state.Waiting) > 0 {
			t.Errorf("%d orders wait for good", len(m.state.Waiting))
		}
		if m.told && m.state.left() < ReorderPoint {
			t.Errorf("%d units are left, and nobody replenishes", m.state.left())
		}
	})
}

// A model is a SKU to which anything happens.
type model struct {
	t          *rapid.T
	state      State
	held       map[string]int64 // units of each order
	orders     int
	unanswered int  // Lows
	told       bool // anything but replenishment was ever decided
}

func (m *model) any() {
	switch rapid.IntRange(0, 3).Draw(m.t, "command") {
	case 0:
		m.orders++
		order, units := fmt.Sprint(m.orders), rapid.Int64Range(1, 600).Draw(m.t, "ordered")
		m.held[order] = units
		m.do(reserve(sku, order, units))
	case 1:
		order := fmt.Sprint(rapid.IntRange(0, m.orders).Draw(m.t, "order"))
		if m.held[order] == 0 {
			return
		}
		units := rapid.Int64Range(1, m.held[order]).Draw(m.t, "returned")
		m.held[order] -= units
		m.do(release(released(order, units)))
	case 2:
		m.do(adjust(adjusted(rapid.Int64Range(-500, 500).Draw(m.t, "adjusted"))))
	case 3:
		if m.unanswered > 0 {
			m.answer()
		}
	}
}

func (m *model) answer() {
	m.unanswered--
	m.do(replenish(sku))
}

func (m *model) do(decide func(State) ([]Event, error)) {
	events, err := decide(m.state)
	if err != nil {
		m.t.Fatal(err)
	}
	m.told = true
	for _, e := range events {
		m.state = evolve(m.state, e)
		if m.state.Available < 0 {
			m.t.Fatalf("%d units available after %+v", m.state.Available, e)
		}
		if _, ok := e.(Low); ok {
			m.unanswered++
		}
	}
	var wanted int64
	for _, w := range m.state.Waiting {
		wanted += w.Units
	}
	if wanted != m.state.Wanted {
		m.t.Fatalf("Wanted is %d, orders wait for %d", m.state.Wanted, wanted)
	}
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
