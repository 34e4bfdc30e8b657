package orders

import (
	"errors"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service/servicetest"
)

// placed is an order of two lines of goods and postage.
var placed = Placed{Order: "536365", Customer: "17850", Country: "United Kingdom", Lines: []Line{
	{SKU: "85123A", Units: 6, Price: 2550},
	{SKU: "71053", Units: 8, Price: 3390},
	{SKU: "POST", Units: 1, Price: 18000, Charge: true},
}}

func returned(pieces ...Piece) Returned {
	return Returned{Order: "536365", Note: "C536379", Country: "United Kingdom", Pieces: pieces}
}

func TestPlace(t *testing.T) {
	servicetest.For(t, newAggregate()).When(place(placed)).Then(placed).
		ThenState(func(t testing.TB, s State) {
			if s.Status != StatusPlaced || len(s.Held) != 3 || s.Held[1] != 8 {
				t.Errorf("state is %+v, want status placed and 8 units held on line 2", s)
			}
		})
}

func TestPlaceTwiceIsRefused(t *testing.T) {
	servicetest.For(t, newAggregate()).Given(placed).When(place(placed)).ThenError(ErrPlaced)
}

func TestConfirm(t *testing.T) {
	order := confirm("536365")
	servicetest.For(t, newAggregate()).Given(placed).When(order).Then(Confirmed{Order: "536365"})
	servicetest.For(t, newAggregate()).When(order).ThenError(ErrNotPlaced)
	servicetest.For(t, newAggregate()).Given(placed, Confirmed{Order: "536365"}).When(order).ThenNothing()
}

func TestConfirmAfterCancelledChangesNothing(t *testing.T) {
	servicetest.For(t, newAggregate()).Given(placed, Cancelled{Order: "536365"}).When(confirm("536365")).ThenNothing()
}

func TestReturnPartOfALine(t *testing.T) {
	r := returned(Piece{Line: 1, SKU: "85123A", Units: 2, Price: 2550, Row: 1, Part: 1})
	servicetest.For(t, newAggregate()).Given(placed).When(giveBack(r)).Then(r).
		ThenState(func(t testing.TB, s State) {
			if s.Held[0] != 4 || s.Status != StatusPlaced {
				t.Errorf("line 1 holds %d in status %q, want 4 in status placed", s.Held[0], s.Status)
			}
		})
}

func TestReturnOfTheLastUnitCancels(t *testing.T) {
	first := returned(Piece{Line: 1, SKU: "85123A", Units: 6}, Piece{Line: 2, SKU: "71053", Units: 7})
	rest := returned(Piece{Line: 2, SKU: "71053", Units: 1}, Piece{Line: 3, SKU: "POST", Units: 1})
	confirmed := Confirmed{Order: "536365"}
	servicetest.For(t, newAggregate()).Given(placed, confirmed, first).When(giveBack(rest)).
		Then(rest, Cancelled{Order: "536365"}).
		ThenState(func(t testing.TB, s State) {
			if s.Status != StatusCancelled {
				t.Errorf("status is %q, want cancelled", s.Status)
			}
		})
}

func TestReturnIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		given  []Event
		pieces []Piece
		want   error
		says   string
	}{
		{"of an order that was never placed", nil, []Piece{{Line: 1, SKU: "85123A", Units: 1}}, ErrNotPlaced, "536365"},
		{"of more than the line holds", []Event{placed}, []Piece{{Line: 1, SKU: "85123A", Units: 7}}, leat.ErrInvalid,
			"pieces[0].units: must be at most 6, what line 1 (85123A) still holds, got 7"},
		{"of what was returned before", []Event{placed, returned(Piece{Line: 1, SKU: "85123A", Units: 5})},
			[]Piece{{Line: 1, SKU: "85123A", Units: 2}}, leat.ErrInvalid, "at most 1"},
		{"of one line in pieces that exceed it together", []Event{placed},
			[]Piece{{Line: 2, SKU: "71053", Units: 5}, {Line: 2, SKU: "71053", Units: 4}}, leat.ErrInvalid, "pieces[1].units: must be at most 3"},
		{"of a line that is not there", []Event{placed}, []Piece{{Line: 4, SKU: "71053", Units: 1}}, leat.ErrInvalid, "pieces[0].line: must be 1 to 3"},
		{"of another SKU", []Event{placed}, []Piece{{Line: 2, SKU: "85123A", Units: 1}}, leat.ErrInvalid, `pieces[0].sku: must be "71053"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decide := giveBack(returned(test.pieces...))
			servicetest.For(t, newAggregate()).Given(test.given...).When(decide).ThenError(test.want)
			s := State{}
			for _, e := range test.given {
				s = evolve(s, e)
			}
			if _, err := decide(s); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestCheckNamesTheField(t *testing.T) {
	order := func(change func(*Placed)) Placed {
		p := placed
		p.Lines = append([]Line(nil), placed.Lines...)
		change(&p)
		return p
	}
	tests := []struct {
		field string
		check func() error
	}{
		{"order", order(func(p *Placed) { p.Order = "" }).check},
		{"customer", order(func(p *Placed) { p.Customer = strings.Repeat("1", MaxName+1) }).check},
		{"country", order(func(p *Placed) { p.Country = "\xff" }).check},
		{"lines", order(func(p *Placed) { p.Lines = nil }).check},
		{"lines", order(func(p *Placed) { p.Lines = make([]Line, MaxLines+1) }).check},
		{"lines[1].sku", order(func(p *Placed) { p.Lines[1].SKU = "" }).check},
		{"lines[2].units", order(func(p *Placed) { p.Lines[2].Units = 0 }).check},
		{"lines[0].units", order(func(p *Placed) { p.Lines[0].Units = MaxUnits + 1 }).check},
		{"lines[0].price", order(func(p *Placed) { p.Lines[0].Price = -1 }).check},
		{"note", Returned{Order: "1", Country: "x", Pieces: []Piece{{}}}.check},
		{"pieces", Returned{Order: "1", Note: "C1", Country: "x"}.check},
		{"pieces[0].units", returned(Piece{Line: 1, SKU: "85123A", Units: -3}).check},
		{"pieces[0].price", returned(Piece{Line: 1, SKU: "85123A", Units: 1, Price: MaxPrice + 1}).check},
	}
	for _, test := range tests {
		t.Run(test.field, func(t *testing.T) {
			invalid, ok := errors.AsType[*leat.InvalidError](test.check())
			if !ok || invalid.Field != test.field {
				t.Errorf("check says %v, want an InvalidError of %s", test.check(), test.field)
			}
		})
	}
	if err := placed.check(); err != nil {
		t.Errorf("check of a good order: %v", err)
	}
}
