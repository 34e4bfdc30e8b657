package billing

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service/servicetest"
)

var (
	bill   = Issued{Invoice: "536365", Customer: "17850", Country: "United Kingdom"}
	issued = Issued{Invoice: "536365", Customer: "17850", Country: "United Kingdom", Amount: 42420}
	lines  = []Line{{Units: 6, Price: 2550}, {Units: 8, Price: 3390}}

	note     = Credited{Invoice: "536365", Note: "C536379", Country: "France", Credits: []Credit{{Row: 1, Part: 1, SKU: "85123A", Units: 6, Price: 9999}}}
	goodwill = GoodwillGranted{Note: "C536379", Country: "France", Credits: []Credit{{Row: 2, Part: 1, SKU: "85123A", Units: 3, Price: 1}}}
	badDebt  = BalanceAdjusted{Number: "A563186", Country: "United Kingdom", Corrections: []Correction{{SKU: "B", Reason: "Adjust bad debt", Units: 1, Price: -11_062_060}}}
)

func TestIssueCapturesInFull(t *testing.T) {
	servicetest.For(t, newAggregate()).When(issue(bill, lines)).Then(issued, Captured{Invoice: "536365", Amount: 42420})
}

func TestIssueOfWhatCostsNothing(t *testing.T) {
	free := bill
	servicetest.For(t, newAggregate()).When(issue(bill, []Line{{Units: 1}})).Then(free, Captured{Invoice: "536365"})
}

func TestCreditMayExceedTheInvoice(t *testing.T) {
	want := note
	want.Amount = 59994
	servicetest.For(t, newAggregate()).Given(issued).When(credit(note)).Then(want)
}

func TestGoodwillAndAdjustmentNeedNoInvoice(t *testing.T) {
	granted, adjusted := goodwill, badDebt
	granted.Amount, adjusted.Amount = 3, -11_062_060
	servicetest.For(t, newAggregate()).When(grantGoodwill(goodwill)).Then(granted)
	servicetest.For(t, newAggregate()).When(adjustBalance(badDebt)).Then(adjusted)
}

func TestRefusals(t *testing.T) {
	huge := []Credit{{SKU: "x", Units: math.MaxInt64 / 2, Price: 2}, {SKU: "x", Units: 1, Price: 2}}
	tests := []struct {
		name  string
		given []Event
		when  func(State) ([]Event, error)
		want  error
	}{
		{"issue twice", []Event{issued}, issue(bill, lines), ErrIssued},
		{"issue under the number of a goodwill credit", []Event{goodwill}, issue(bill, lines), ErrIssued},
		{"credit before the invoice", nil, credit(note), ErrNotIssued},
		{"credit on an adjustment", []Event{badDebt}, credit(note), ErrNotIssued},
		{"goodwill under the number of an invoice", []Event{issued}, grantGoodwill(goodwill), ErrIssued},
		{"goodwill twice", []Event{goodwill}, grantGoodwill(goodwill), ErrIssued},
		{"adjustment twice", []Event{badDebt}, adjustBalance(badDebt), ErrIssued},
		{"invoice beyond an int64", nil, issue(bill, []Line{{Units: math.MaxInt64, Price: 2}}), ErrAmount},
		{"credit beyond an int64", []Event{issued}, credit(Credited{Credits: huge}), ErrAmount},
		{"goodwill beyond an int64", nil, grantGoodwill(GoodwillGranted{Credits: huge}), ErrAmount},
		{"adjustment below an int64", nil, adjustBalance(BalanceAdjusted{Corrections: []Correction{
			{Units: -math.MaxInt64, Price: 1}, {Units: -2, Price: 1}}}), ErrAmount},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			servicetest.For(t, newAggregate()).Given(test.given...).When(test.when).ThenError(test.want)
		})
	}
}

func TestTotalStopsAtTheEnds(t *testing.T) {
	most, err := total([]Line{{Units: math.MaxInt64 - 1, Price: 1}, {Units: 1, Price: 1}})
	if err != nil || most != math.MaxInt64 {
		t.Errorf("total is %d, %v; want the largest int64", most, err)
	}
	least, err := total([]Line{{Units: math.MinInt64 + 1, Price: 1}, {Units: -1, Price: 1}})
	if err != nil || least != math.MinInt64 {
		t.Errorf("total is %d, %v; want the smallest int64", least, err)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	tests := []struct {
		field string
		check func() error
	}{
		{"invoice", func() error { return Issued{Country: "x"}.check(lines) }},
		{"country", func() error { return Issued{Invoice: "1"}.check(lines) }},
		{"lines", func() error { return bill.check(nil) }},
		{"lines[0].units", func() error { return bill.check([]Line{{Units: 0}}) }},
		{"lines[1].price", func() error { return bill.check([]Line{{Units: 1}, {Units: 1, Price: -1}}) }},
		{"note", Credited{Invoice: "1", Country: "x"}.check},
		{"credits", Credited{Invoice: "1", Note: "C1", Country: "x"}.check},
		{"customer", GoodwillGranted{Note: "C1", Country: "x", Customer: strings.Repeat("1", MaxName+1)}.check},
		{"credits[0].units", GoodwillGranted{Note: "C1", Country: "x", Credits: []Credit{{Units: MaxUnits + 1}}}.check},
		{"number", BalanceAdjusted{Country: "x"}.check},
		{"corrections", BalanceAdjusted{Number: "A1", Country: "x"}.check},
		{"corrections[0].units", BalanceAdjusted{Number: "A1", Country: "x", Corrections: []Correction{{SKU: "B"}}}.check},
		{"corrections[0].price", BalanceAdjusted{Number: "A1", Country: "x", Corrections: []Correction{{SKU: "B", Units: 1, Price: MaxPrice + 1}}}.check},
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
