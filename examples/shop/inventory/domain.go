package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/field"
)

// How a SKU is replenished: when less than ReorderPoint units are left beside
// what orders wait for, so many are received that Lot units are.
const (
	ReorderPoint = 48
	Lot          = 480
)

// Limits of one command.
const (
	MaxUnits = 1_000_000 // of one adjustment, found or lost
	MaxName  = 64        // bytes of a SKU or the number of a paper
	MaxText  = 256       // bytes of a description or a reason
)

// maxServed bounds how many waiting orders one decision serves, so that its
// events fit into an Append of any log.
const maxServed = 400

// ErrUnknownSKU says that nobody registered the SKU.
var ErrUnknownSKU = errors.New("unknown SKU")

// A Kind says whether a SKU is something that lies on a shelf.
type Kind string

// The kinds of a SKU. KindNone is the kind of one that is not registered.
const (
	KindNone   Kind = ""
	KindGoods  Kind = "goods"
	KindCharge Kind = "charge" // postage, fees, manual entries: has no stock
)

// An Event is something that happened to a SKU.
type Event interface{ skuEvent() }

type (
	// Registered enters a SKU into the catalogue.
	Registered struct {
		SKU         string `json:"sku"`
		Kind        Kind   `json:"kind"`
		Description string `json:"description,omitempty"`
	}

	// Received puts units that were bought into stock.
	Received struct {
		SKU   string `json:"sku"`
		Units int64  `json:"units"`
	}

	// Reserved takes units out of stock for an order, for good unless they are
	// Released.
	Reserved struct {
		SKU    string `json:"sku"`
		Order  string `json:"order"`
		Units  int64  `json:"units"`
		Waited bool   `json:"waited,omitempty"` // the stock was Short before
	}

	// Short says that the stock does not suffice: the order waits.
	Short struct {
		SKU     string `json:"sku"`
		Order   string `json:"order"`
		Units   int64  `json:"units"`
		Missing int64  `json:"missing"` // that no order before it waits for
	}

	// Low asks for replenishment. It is told once when the stock falls below the
	// reorder point, and again if that lasts.
	Low struct {
		SKU  string `json:"sku"`
		Left int64  `json:"left"` // beside what orders wait for: below zero when short
	}

	// Released puts units that an order gave back into stock.
	Released struct {
		SKU   string `json:"sku"`
		Order string `json:"order"`
		Note  string `json:"note"` // the cancellation that asked for it
		Units int64  `json:"units"`
	}

	// Adjusted corrects the stock to what was found on the shelf.
	Adjusted struct {
		SKU    string `json:"sku"`
		Note   string `json:"note"`  // the paper that says so
		Row    int    `json:"row"`   // of that paper, from 1
		Units  int64  `json:"units"` // found (above zero) or lost (below)
		Reason string `json:"reason,omitempty"`
		Charge bool   `json:"charge,omitempty"` // a note about a charge: no stock moved
	}
)

func (Registered) skuEvent() {}
func (Received) skuEvent()   {}
func (Reserved) skuEvent()   {}
func (Short) skuEvent()      {}
func (Low) skuEvent()        {}
func (Released) skuEvent()   {}
func (Adjusted) skuEvent()   {}

// State is what the decisions about a SKU depend on.
type State struct {
	Kind      Kind
	Available int64     // units in stock that no order has; never below zero
	Waiting   []Waiting // orders the stock did not suffice for, oldest first
	Wanted    int64     // units that Waiting waits for
	Told      bool      // Low was told since the stock was last replenished, or was not low
}

// left returns the units that remain beside what orders wait for.
func (s State) left() int64 { return s.Available - s.Wanted }

// low reports whether replenishment has something to do. Then a Low is on its
// way to it that it has not answered: every decision ends with tellLow.
func (s State) low() bool { return s.left() < ReorderPoint || len(s.Waiting) > 0 }

// Waiting is an order that waits for units.
type Waiting struct {
	Order string
	Units int64
}

// evolve returns the state after an event. It never writes to memory that an
// earlier State shares.
func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Registered:
		s.Kind = e.Kind
	case Received:
		s.Available += e.Units
		s.Told = false
	case Reserved:
		s.Available -= e.Units
		if e.Waited {
			i := s.waits(e.Order)
			s.Wanted -= e.Units
			s.Waiting = slices.Concat(s.Waiting[:i], s.Waiting[i+1:])
		}
	case Short:
		s.Waiting = append(slices.Clip(s.Waiting), Waiting{Order: e.Order, Units: e.Units})
		s.Wanted += e.Units
	case Low:
		s.Told = true
	case Released:
		s.Available += e.Units
	case Adjusted:
		if !e.Charge {
			s.Available += e.Units
		}
	}
	s.Told = s.Told && s.low()
	return s
}

// waits returns the place of an order among those that wait, -1 if it does not.
func (s State) waits(order string) int {
	return slices.IndexFunc(s.Waiting, func(w Waiting) bool { return w.Order == order })
}

// A decision collects events and the state they lead to.
type decision struct {
	State
	sku    string
	events []Event
}

func (d *decision) add(e Event) {
	d.State = evolve(d.State, e)
	d.events = append(d.events, e)
}

// receive buys units, if any are needed.
func (d *decision) receive(units int64) {
	if units > 0 {
		d.add(Received{SKU: d.sku, Units: units})
	}
}

// serve reserves for those who wait, oldest first, while the stock suffices.
func (d *decision) serve() {
	for range maxServed {
		if len(d.Waiting) == 0 || d.Available < d.Waiting[0].Units {
			return
		}
		d.reserve(d.Waiting[0])
	}
}

// reserve takes out of stock what an order waited for.
func (d *decision) reserve(w Waiting) {
	d.add(Reserved{SKU: d.sku, Order: w.Order, Units: w.Units, Waited: true})
}

// tellLow asks for replenishment, unless that was done.
func (d *decision) tellLow() {
	if !d.Told && d.low() {
		d.add(Low{SKU: d.sku, Left: d.left()})
	}
}

// decide returns the decision that a rule makes about a registered SKU.
func decide(sku, action string, rule func(*decision)) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Kind == KindNone {
			return nil, fmt.Errorf("%s SKU %q: %w", action, sku, ErrUnknownSKU)
		}
		d := decision{State: s, sku: sku}
		rule(&d)
		return d.events, nil
	}
}

// reserve decides on the units of one SKU that an order wants. An order that
// comes when others wait is served after them.
func reserve(sku, order string, units int64) func(State) ([]Event, error) {
	return decide(sku, "reserve", func(d *decision) {
		switch {
		case d.Kind == KindCharge:
			return
		case len(d.Waiting) > 0:
			d.add(Short{SKU: sku, Order: order, Units: units, Missing: units})
		case d.Available < units:
			d.add(Short{SKU: sku, Order: order, Units: units, Missing: units - d.Available})
		default:
			d.add(Reserved{SKU: sku, Order: order, Units: units})
		}
		d.tellLow()
	})
}

// replenish decides whether to buy, and serves those who wait. It asks to be
// called again when they are too many for once.
func replenish(sku string) func(State) ([]Event, error) {
	return decide(sku, "replenish", func(d *decision) {
		if d.Kind == KindCharge {
			return
		}
		if d.left() < ReorderPoint {
			d.receive(Lot - d.left())
		}
		d.serve()
		d.Told = false
		d.tellLow()
	})
}

// release decides on units that an order gave back. If the order still waits
// for them, what is missing is bought first, so that a return never depends on
// how far the replenishment is.
func release(r Released) func(State) ([]Event, error) {
	return decide(r.SKU, "release", func(d *decision) {
		if d.Kind == KindCharge {
			return
		}
		if i := d.waits(r.Order); i >= 0 {
			d.receive(d.Waiting[i].Units - d.Available)
			d.reserve(d.Waiting[i])
		}
		d.add(r)
		d.serve()
		d.tellLow()
	})
}

// adjust decides on a correction of the stock. What was lost must have been
// there, so what is missing is bought first.
func adjust(a Adjusted) func(State) ([]Event, error) {
	return decide(a.SKU, "adjust", func(d *decision) {
		if a.Charge = d.Kind == KindCharge; a.Charge {
			d.add(a)
			return
		}
		d.receive(-a.Units - d.Available)
		d.add(a)
		d.serve()
		d.tellLow()
	})
}

func (r Registered) check() error {
	if err := cmp.Or(
		field.Text("sku", r.SKU, MaxName),
		field.Optional("description", r.Description, MaxText),
	); err != nil {
		return err
	}
	if r.Kind != KindGoods && r.Kind != KindCharge {
		return &leat.InvalidError{Field: "kind", Limit: `"goods" or "charge"`, Got: fmt.Sprintf("%q", r.Kind)}
	}
	return nil
}

func (a Adjusted) check() error {
	if err := cmp.Or(
		field.Text("sku", a.SKU, MaxName),
		field.Text("note", a.Note, MaxName),
		field.Optional("reason", a.Reason, MaxText),
		field.Between("units", a.Units, -MaxUnits, MaxUnits),
	); err != nil {
		return err
	}
	if a.Units == 0 {
		return &leat.InvalidError{Field: "units", Limit: "above or below zero", Got: "0"}
	}
	return nil
}
