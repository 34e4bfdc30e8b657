package billing

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/field"
)

// Limits of one command. MaxPrice is in tenths of a penny: £1,000,000.
const (
	MaxLines = 10_000
	MaxUnits = 1_000_000
	MaxPrice = 1_000_000_000
	MaxName  = 64
	MaxText  = 256
)

var (
	// ErrNotIssued: there is no invoice with this number.
	ErrNotIssued = errors.New("the invoice is not issued")
	// ErrIssued: an invoice, or another paper with this number, is issued already.
	ErrIssued = errors.New("a paper with this number is issued already")
	// ErrAmount: a sum is beyond what an int64 of tenths of a penny holds.
	ErrAmount = errors.New("the amount is too large")
)

// An Event is something that happened to an invoice, or to another paper with
// a number of its own: a goodwill credit or an adjustment.
type Event interface{ invoiceEvent() }

// All amounts and prices are in tenths of a penny.
type (
	// Issued bills an order.
	Issued struct {
		Invoice  string `json:"invoice"`
		Customer string `json:"customer,omitempty"` // empty for a cash sale
		Country  string `json:"country"`
		Amount   int64  `json:"amount"`
	}

	// Captured says that the customer's money has come.
	Captured struct {
		Invoice string `json:"invoice"`
		Amount  int64  `json:"amount"`
	}

	// Credited gives money back for units that were returned.
	Credited struct {
		Invoice string   `json:"invoice"`
		Note    string   `json:"note"`    // the cancellation that asked for it
		Country string   `json:"country"` // that of the cancellation
		Amount  int64    `json:"amount"`
		Credits []Credit `json:"credits"`
	}

	// GoodwillGranted gives money back for units that are on no order of ours.
	GoodwillGranted struct {
		Note     string   `json:"note"`
		Customer string   `json:"customer,omitempty"`
		Country  string   `json:"country"`
		Amount   int64    `json:"amount"`
		Credits  []Credit `json:"credits"`
	}

	// BalanceAdjusted corrects what is owed, up or down, such as by a bad debt.
	// It is neither revenue nor credit.
	BalanceAdjusted struct {
		Number      string       `json:"number"`
		Country     string       `json:"country"`
		Amount      int64        `json:"amount"`
		Corrections []Correction `json:"corrections"`
	}
)

func (Issued) invoiceEvent()          {}
func (Captured) invoiceEvent()        {}
func (Credited) invoiceEvent()        {}
func (GoodwillGranted) invoiceEvent() {}
func (BalanceAdjusted) invoiceEvent() {}

// A Line is a number of units at a price.
type Line struct {
	Units int64 `json:"units"`
	Price int64 `json:"price"` // of one unit, in tenths of a penny
}

// A Credit is the part of a cancellation's row that one credit pays for.
type Credit struct {
	Row   int    `json:"row"`  // of the cancellation, from 1
	Part  int    `json:"part"` // of that row, from 1
	SKU   string `json:"sku"`
	Units int64  `json:"units"`
	Price int64  `json:"price"` // of one unit, in tenths of a penny
}

// A Correction is one row of an adjustment.
type Correction struct {
	SKU    string `json:"sku"`
	Reason string `json:"reason,omitempty"`
	Units  int64  `json:"units"`
	Price  int64  `json:"price"` // of one unit, may be below zero
}

// State is what the decisions about a paper depend on.
type State struct {
	Issued bool // an invoice
	Other  bool // a goodwill credit or an adjustment
}

func evolve(s State, e Event) State {
	switch e.(type) {
	case Issued:
		s.Issued = true
	case GoodwillGranted, BalanceAdjusted:
		s.Other = true
	}
	return s
}

// issue decides on the invoice of an order. The payment is captured in full at
// once.
func issue(i Issued, lines []Line) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Issued || s.Other {
			return nil, fmt.Errorf("issue invoice %s: %w", i.Invoice, ErrIssued)
		}
		var err error
		if i.Amount, err = total(lines); err != nil {
			return nil, fmt.Errorf("issue invoice %s: %w", i.Invoice, err)
		}
		return []Event{i, Captured{Invoice: i.Invoice, Amount: i.Amount}}, nil
	}
}

// credit decides on a credit note. It needs the invoice, but may exceed it: the
// price of the day of return counts.
func credit(c Credited) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if !s.Issued {
			return nil, fmt.Errorf("credit %s on invoice %s: %w", c.Note, c.Invoice, ErrNotIssued)
		}
		var err error
		if c.Amount, err = total(linesOf(c.Credits)); err != nil {
			return nil, fmt.Errorf("credit %s on invoice %s: %w", c.Note, c.Invoice, err)
		}
		return []Event{c}, nil
	}
}

// grantGoodwill decides on a credit without an invoice.
func grantGoodwill(g GoodwillGranted) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Issued || s.Other {
			return nil, fmt.Errorf("grant goodwill %s: %w", g.Note, ErrIssued)
		}
		var err error
		if g.Amount, err = total(linesOf(g.Credits)); err != nil {
			return nil, fmt.Errorf("grant goodwill %s: %w", g.Note, err)
		}
		return []Event{g}, nil
	}
}

// adjustBalance decides on a correction of what is owed.
func adjustBalance(a BalanceAdjusted) func(State) ([]Event, error) {
	return func(s State) ([]Event, error) {
		if s.Issued || s.Other {
			return nil, fmt.Errorf("adjust the balance by %s: %w", a.Number, ErrIssued)
		}
		lines := make([]Line, len(a.Corrections))
		for i, c := range a.Corrections {
			lines[i] = Line{Units: c.Units, Price: c.Price}
		}
		var err error
		if a.Amount, err = total(lines); err != nil {
			return nil, fmt.Errorf("adjust the balance by %s: %w", a.Number, err)
		}
		return []Event{a}, nil
	}
}

func linesOf(credits []Credit) []Line {
	lines := make([]Line, len(credits))
	for i, c := range credits {
		lines[i] = Line{Units: c.Units, Price: c.Price}
	}
	return lines
}

// total adds up lines. It returns ErrAmount rather than a sum that wrapped
// around.
func total(lines []Line) (int64, error) {
	var sum int64
	for _, l := range lines {
		amount := l.Units * l.Price
		if l.Price != 0 && amount/l.Price != l.Units ||
			amount > 0 && sum > math.MaxInt64-amount || amount < 0 && sum < math.MinInt64-amount {
			return 0, ErrAmount
		}
		sum += amount
	}
	return sum, nil
}

func (i Issued) check(lines []Line) error {
	if err := cmp.Or(
		field.Text("invoice", i.Invoice, MaxName),
		field.Optional("customer", i.Customer, MaxName),
		field.Text("country", i.Country, MaxName),
	); err != nil {
		return err
	}
	return checkLines("lines", lines)
}

func (c Credited) check() error {
	if err := cmp.Or(
		field.Text("invoice", c.Invoice, MaxName),
		field.Text("note", c.Note, MaxName),
		field.Text("country", c.Country, MaxName),
	); err != nil {
		return err
	}
	return checkLines("credits", linesOf(c.Credits))
}

func (g GoodwillGranted) check() error {
	if err := cmp.Or(
		field.Text("note", g.Note, MaxName),
		field.Optional("customer", g.Customer, MaxName),
		field.Text("country", g.Country, MaxName),
	); err != nil {
		return err
	}
	return checkLines("credits", linesOf(g.Credits))
}

func checkLines(list string, lines []Line) error {
	if err := field.Between(list, int64(len(lines)), 1, MaxLines); err != nil {
		return err
	}
	for i, l := range lines {
		if 1 <= l.Units && l.Units <= MaxUnits && 0 <= l.Price && l.Price <= MaxPrice {
			continue // most are good, and naming the fields costs more than checking them
		}
		return cmp.Or(
			field.Between(fmt.Sprintf("%s[%d].units", list, i), l.Units, 1, MaxUnits),
			field.Between(fmt.Sprintf("%s[%d].price", list, i), l.Price, 0, MaxPrice),
		)
	}
	return nil
}

func (a BalanceAdjusted) check() error {
	if err := cmp.Or(
		field.Text("number", a.Number, MaxName),
		field.Text("country", a.Country, MaxName),
		field.Between("corrections", int64(len(a.Corrections)), 1, MaxLines),
	); err != nil {
		return err
	}
	for i, c := range a.Corrections {
		name := func(of string) string { return fmt.Sprintf("corrections[%d].%s", i, of) }
		if err := cmp.Or(
			field.Text(name("sku"), c.SKU, MaxName),
			field.Optional(name("reason"), c.Reason, MaxText),
			field.Between(name("units"), c.Units, -MaxUnits, MaxUnits),
			field.Between(name("price"), c.Price, -MaxPrice, MaxPrice),
		); err != nil {
			return err
		}
		if c.Units == 0 {
			return &leat.InvalidError{Field: name("units"), Limit: "above or below zero", Got: "0"}
		}
	}
	return nil
}
