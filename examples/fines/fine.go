package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leathq/leat/service"
)

// Cents are hundredths of a euro.
type Cents int64

// A Fine is what its events make of it.
type Fine struct {
	Status  string  `json:"status"`
	Events  int     `json:"events"`
	Paid    Cents   `json:"paid"`    // by the source's own running total
	Before  Cents   `json:"before"`  // of that, before Day
	Day     string  `json:"day"`     // of the last payment; empty when there was none
	OnDay   int     `json:"on_day"`  // payments of Day
	Sums    []Cents `json:"sums"`    // what the payments of Day may come to
	Earlier Tally   `json:"earlier"` // days before Day
}

// A Tally counts days with payments, and payments, and of both those that explain
// the source's running total.
type Tally struct {
	Days              int `json:"days"`
	Payments          int `json:"payments"`
	ExplainedDays     int `json:"explained_days"`
	ExplainedPayments int `json:"explained_payments"`
}

var fines = service.Aggregate[Fine, Event]{Category: "fine", Types: types, Evolve: evolve}

func evolve(f Fine, e Event) Fine {
	f.Events++
	switch e := e.(type) {
	case Created:
		f.Status = "created"
	case Sent:
		f.Status = "sent"
	case Notified:
		f.Status = "notified"
	case Penalised:
		f.Status = "penalised"
	case Paid:
		f.Status = "paid"
		return f.pay(e)
	case Collected:
		f.Status = "in collection"
	case Appealed:
		f.Status = "appealed"
	}
	return f
}

// pay adds a payment. The source's total is that of the day's end, so a day is
// judged as a whole.
func (f Fine) pay(p Paid) Fine {
	if p.Day != f.Day {
		f.Earlier = f.Tally()
		f.Before, f.Day, f.OnDay, f.Sums = f.Paid, p.Day, 0, []Cents{0}
	}
	var sums []Cents
	for _, amount := range amounts(p.Digits) {
		for _, s := range f.Sums {
			sums = append(sums, s+amount)
		}
	}
	f.Sums, f.Paid = sums, p.Total
	f.OnDay++
	return f
}

// Tally counts all days up to now.
func (f Fine) Tally() Tally {
	t := f.Earlier
	if f.Day == "" {
		return t
	}
	t.Days++
	t.Payments += f.OnDay
	if slices.Contains(f.Sums, f.Paid-f.Before) {
		t.ExplainedDays++
		t.ExplainedPayments += f.OnDay
	}
	return t
}

// amounts returns what digits without their decimal point may stand for: "350" is
// 35.0, but "4925" may be 492.5 or 49.25. Digits that are none stand for nothing.
func amounts(digits string) []Cents {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return nil
	}
	if strings.HasSuffix(digits, "0") {
		return []Cents{Cents(n) * 10}
	}
	return []Cents{Cents(n) * 10, Cents(n)}
}
