package orders

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/field"
)

// Limits of what an order may hold. They keep its event below 2 MiB.
const (
	MaxLines = 10_000
	MaxUnits = 1_000_000     // of one line
	MaxPrice = 1_000_000_000 // of one unit, in tenths of a penny: £1,000,000
	MaxName  = 64            // bytes of a number, customer, country or SKU
)

var (
	// ErrNotPlaced: there is no order with this number.
	ErrNotPlaced = errors.New("the order was never placed")
	// ErrPlaced: there is an order with this number already, with other content.
	ErrPlaced = errors.New("the order was placed before")
	// ErrUnknownSKU: a line asks for something that is not in the catalogue.
	ErrUnknownSKU = errors.New("unknown SKU")
)

// An Event is something that happened to an order: Placed, Confirmed, Returned
// or Cancelled.
type Event interface{ orderEvent() }

type (
	// Placed begins an order. It holds all its lines.
	Placed struct {
		Order    string `json:"order"`
		Customer string `json:"customer,omitempty"` // empty for a cash sale
		Country  string `json:"country"`
		Lines    []Line `json:"lines"`
	}

	// Confirmed says that all goods are reserved and the invoice is issued.
	Confirmed struct {
		Order string `json:"order"`
	}

	// Returned takes units back from lines of the order.
	Returned struct {
		Order   string  `json:"order"`
		Note    string  `json:"note"` // the cancellation that asked for it
		Country string  `json:"country"`
		Pieces  []Piece `json:"pieces"`
	}

	// Cancelled says that no line of the order holds a unit any more.
	Cancelled struct {
		Order string `json:"order"`
	}
)

func (Placed) orderEvent()    {}
func (Confirmed) orderEvent() {}
func (Returned) orderEvent()  {}
func (Cancelled) orderEvent() {}

// A Line is one position of an order. Its number is its place in the order,
// from 1.
type Line struct {
	SKU    string `json:"sku"`
	Units  int64  `json:"units"`
	Price  int64  `json:"price"`            // of one unit, in tenths of a penny
	Charge bool   `json:"charge,omitempty"` // postage, fees …: moves no stock
}

// A Piece is a number of units that one line of an order gives back.
type Piece struct {
	Line  int    `json:"line"` // of the order, from 1
	SKU   string `json:"sku"`
	Units int64  `json:"units"`
	Price int64  `json:"price"` // credited for one unit, in tenths of a penny
	Row   int    `json:"row"`   // of the cancellation that asked for it, from 1
	Part  int    `json:"part"`  // of that row, from 1
}

// A Status is how far an order has come.
type Status string

// The statuses of an order. StatusNone is the status of one that was never placed.
const (
	StatusNone      Status = ""
	StatusPlaced    Status = "placed"
	StatusConfirmed Status = "confirmed"
	StatusCancelled Status = "cancelled" // wholly returned
)

// State is what the decisions about an order depend on.
type State struct {
	Status Status
	Placed Placed
	Held   []int64 // units that each line still holds
}

// evolve returns the state after an event. It never writes to memory that an
// earlier State shares.
func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Placed:
		held := make([]int64, len(e.Lines))
		for i, l := range e.Lines {
			held[i] = l.Units
		}
		return State{Status: StatusPlaced, Placed: e, Held: held}
	case Confirmed:
		s.Status = StatusConfirmed
	case Returned:
		s.Held = slices.Clone(s.Held)
		for _, p := range e.Pieces {
			s.Held[p.Line-1] -= p.Units
		}
	case Cancelled:
		s.Status = StatusCancelled
	}
	return s
}

// place decides on a new order.
func place(p Placed) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Status != StatusNone {
			return nil, fmt.Errorf("place order %s: %w", p.Order, ErrPlaced)
		}
		return []Event{p}, nil
	}
}

// confirm decides on an order whose goods are reserved and whose invoice is
// issued. An order that was cancelled or confirmed meanwhile stays as it is.
func confirm(order string) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		switch s.Status {
		case StatusNone:
			return nil, fmt.Errorf("confirm order %s: %w", order, ErrNotPlaced)
		case StatusPlaced:
			return []Event{Confirmed{Order: order}}, nil
		}
		return nil, nil
	}
}

// giveBack decides on units that lines of an order give back. It is accepted in
// any status, but never for more than a line still holds.
func giveBack(r Returned) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Status == StatusNone {
			return nil, fmt.Errorf("return units of order %s: %w", r.Order, ErrNotPlaced)
		}
		left := slices.Clone(s.Held)
		for i, p := range r.Pieces {
			if err := s.take(left, i, p); err != nil {
				return nil, fmt.Errorf("return units of order %s: %w", r.Order, err)
			}
		}
		events := []Event{r}
		if slices.Max(left) == 0 {
			events = append(events, Cancelled{Order: r.Order})
		}
		return events, nil
	}
}

// take takes the i-th piece of a return from what the lines still hold.
func (s State) take(left []int64, i int, p Piece) error {
	if err := field.Between(fmt.Sprintf("pieces[%d].line", i), int64(p.Line), 1, int64(len(left))); err != nil {
		return err
	}
	line, holds := s.Placed.Lines[p.Line-1], &left[p.Line-1]
	if p.SKU != line.SKU {
		return &leat.InvalidError{
			Field: fmt.Sprintf("pieces[%d].sku", i), Got: fmt.Sprintf("%q", p.SKU),
			Limit: fmt.Sprintf("%q, what line %d holds", line.SKU, p.Line),
		}
	}
	if p.Units > *holds {
		return &leat.InvalidError{
			Field: fmt.Sprintf("pieces[%d].units", i), Got: fmt.Sprint(p.Units),
			Limit: fmt.Sprintf("at most %d, what line %d (%s) still holds", *holds, p.Line, line.SKU),
		}
	}
	*holds -= p.Units
	return nil
}

// equal reports whether p and o are the same order.
func (p Placed) equal(o Placed) bool {
	return p.Order == o.Order && p.Customer == o.Customer && p.Country == o.Country && slices.Equal(p.Lines, o.Lines)
}

// check says which field of p is out of bounds. Whether its SKUs are known is
// not its business.
func (p Placed) check() error {
	if err := cmp.Or(
		field.Text("order", p.Order, MaxName),
		field.Optional("customer", p.Customer, MaxName),
		field.Text("country", p.Country, MaxName),
		field.Between("lines", int64(len(p.Lines)), 1, MaxLines),
	); err != nil {
		return err
	}
	for i, l := range p.Lines {
		if err := checkUnits("lines", i, l.SKU, l.Units, l.Price); err != nil {
			return err
		}
	}
	return nil
}

// check says which field of r is out of bounds.
func (r Returned) check() error {
	if err := cmp.Or(
		field.Text("order", r.Order, MaxName),
		field.Text("note", r.Note, MaxName),
		field.Text("country", r.Country, MaxName),
		field.Between("pieces", int64(len(r.Pieces)), 1, MaxLines),
	); err != nil {
		return err
	}
	for i, p := range r.Pieces {
		if err := checkUnits("pieces", i, p.SKU, p.Units, p.Price); err != nil {
			return err
		}
	}
	return nil
}

func checkUnits(list string, i int, sku string, units, price int64) error {
	if sku != "" && len(sku) <= MaxName && 1 <= units && units <= MaxUnits && 0 <= price && price <= MaxPrice {
		return nil // most are good, and naming the fields costs more than checking them
	}
	name := func(of string) string { return fmt.Sprintf("%s[%d].%s", list, i, of) }
	return cmp.Or(
		field.Text(name("sku"), sku, MaxName),
		field.Between(name("units"), units, 1, MaxUnits),
		field.Between(name("price"), price, 0, MaxPrice),
	)
}
