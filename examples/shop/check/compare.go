package check

import (
	"fmt"
	"slices"
)

// Compare says, check by check, what the services say against what the file
// says. Every total is also compared part by part (order by order, article by
// article, country by country), so that two mistakes cannot make up for each
// other; Result.Actual names the first parts that differ.
func Compare(e *Expected, a *Actual) []Result {
	var r report
	r.orders(e, &a.Orders)
	r.inventory(e, &a.Inventory)
	r.billing(e, &a.Billing)
	r.log(e, &a.Log)
	return r
}

// OK reports whether all checks passed, of which there must be some.
func OK(results []Result) bool {
	return len(results) > 0 && !slices.ContainsFunc(results, func(r Result) bool { return !r.OK })
}

type report []Result

func (r *report) orders(e *Expected, a *OrdersActual) {
	r.sums("orders: placed", number, one(e.Orders), one(a.Orders))
	r.sums("orders: lines", number,
		column(e.Orders, func(o Order) int64 { return o.Lines }),
		column(a.Orders, func(o PlacedOrder) int64 { return o.Lines }))
	r.sums("orders: units", number,
		column(e.Orders, func(o Order) int64 { return o.Units }),
		column(a.Orders, func(o PlacedOrder) int64 { return o.Units }))
	r.sums("orders: units cancelled", number,
		column(e.Orders, func(o Order) int64 { return o.Returned }),
		column(a.Orders, func(o PlacedOrder) int64 { return o.Returned }))
	r.sums("orders: gross by order", money,
		column(e.Orders, func(o Order) int64 { return o.Gross }),
		column(a.Orders, func(o PlacedOrder) int64 { return o.Gross }))
	r.sums("orders: gross by country", money, e.Gross, a.Gross)
	r.statuses("orders: status",
		column(e.Orders, func(o Order) Status { return o.Status }),
		column(a.Orders, func(o PlacedOrder) Status { return o.Status }))
}

func (r *report) inventory(e *Expected, a *InventoryActual) {
	r.sums("inventory: units sold", number,
		column(e.Stock, func(m Moves) int64 { return m.Sold }),
		column(a.Stock, func(s Stock) int64 { return s.Sold }))
	r.sums("inventory: units returned", number,
		column(e.Stock, func(m Moves) int64 { return m.Returned }),
		column(a.Stock, func(s Stock) int64 { return s.Returned }))
	r.sums("inventory: units adjusted", number,
		column(e.Stock, func(m Moves) int64 { return m.Adjusted }),
		column(a.Stock, func(s Stock) int64 { return s.Adjusted }))
	r.sums("inventory: on hand = received − sold + returned + adjusted", number,
		balances(e.Stock, a.Stock),
		column(a.Stock, func(s Stock) int64 { return s.OnHand }))
	r.sums("inventory: units ever below zero", number, nil,
		column(a.Stock, func(s Stock) int64 { return max(0, -s.Lowest, -s.OnHand) }))
	r.sums("inventory: units orders still wait for", number, nil, map[string]int64{"all articles": a.Waiting})
	r.adjustments("inventory: adjustments", e.Adjustments, a.Adjustments)
}

// balances returns what must be on hand of each article that was received. It
// takes the file's word for all but the receipts, which are the shop's own.
func balances(moves map[string]Moves, stock map[string]Stock) map[string]int64 {
	onHand := column(moves, func(m Moves) int64 { return m.Returned + m.Adjusted - m.Sold })
	for sku, s := range stock {
		onHand[sku] += s.Received
	}
	return onHand
}

func (r *report) billing(e *Expected, a *BillingActual) {
	gross := column(e.Orders, func(o Order) int64 { return o.Gross })
	r.sums("billing: invoices", number, one(e.Orders), one(a.Invoices))
	r.sums("billing: invoiced by order", money, gross,
		column(a.Invoices, func(i Invoice) int64 { return i.Amount }))
	r.sums("billing: paid by order", money, gross,
		column(a.Invoices, func(i Invoice) int64 { return i.Paid }))
	r.sums("billing: credited by order", money,
		column(e.Orders, func(o Order) int64 { return o.Credited }),
		column(a.Invoices, func(i Invoice) int64 { return i.Credited }))
	r.sums("billing: gross by country", money, e.Gross, a.Gross)
	r.sums("billing: credited by country", money, e.Credit, a.Credit)
	r.credits("billing: credits for returned units", "pieces", e.Returns, a.Returns)
	r.credits("billing: goodwill", "pieces", e.Goodwill, a.Goodwill)
	r.credits("billing: adjustments", "rows", e.BillingAdjustments, a.BillingAdjustments)
	r.equal("billing: gross − credits + adjustments = all rows of the file", money(e.GrandTotal), money(a.Balance))
}

func (r *report) log(e *Expected, a *LogActual) {
	r.once("log: one SKURegistered per article", "articles", len(e.Stock), a.SKURegistered)
	r.once("log: one OrderPlaced per order", "orders", len(e.Orders), a.OrderPlaced)
	r.once("log: one InvoiceIssued per order", "orders", len(e.Orders), a.InvoiceIssued)
	r.once("log: one PaymentCaptured per order", "orders", len(e.Orders), a.PaymentCaptured)
}

func (r *report) once(name, noun string, n int, actual Occurrences) {
	show := func(o Occurrences) string { return fmt.Sprintf("%s for %s %s", number(o.Events), number(o.Of), noun) }
	r.equal(name, show(Occurrences{int64(n), int64(n)}), show(actual))
}

// equal compares what its texts say in full.
func (r *report) equal(name, expected, actual string) {
	*r = append(*r, Result{Name: name, Expected: expected, Actual: actual, OK: expected == actual})
}

func (r *report) credits(name, noun string, expected, actual Credits) {
	show := func(c Credits) string {
		return fmt.Sprintf("%s %s, %s units, %s", number(c.Count), noun, number(c.Units), money(c.Value))
	}
	r.equal(name, show(expected), show(actual))
}

func (r *report) adjustments(name string, expected, actual Adjustments) {
	show := func(a Adjustments) string {
		return fmt.Sprintf("%s invoices, %s rows: %s lost %s, %s found %s, %s on charges %s",
			number(a.Invoices), number(a.Rows), number(a.RowsLost), number(a.UnitsLost),
			number(a.RowsFound), number(a.UnitsFound), number(a.RowsCharged), number(a.UnitsCharged))
	}
	r.equal(name, show(expected), show(actual))
}

// sums compares part by part and shows the sums of the parts. A part that is
// missing is zero.
func (r *report) sums(name string, show func(int64) string, expected, actual map[string]int64) {
	different := differences(expected, actual, show)
	r.parts(name, show(sum(expected)), show(sum(actual)), different)
}

func (r *report) statuses(name string, expected, actual map[string]Status) {
	show := func(s Status) string {
		if s == "" {
			return "none"
		}
		return string(s)
	}
	r.parts(name, histogram(expected), histogram(actual), differences(expected, actual, show))
}

func (r *report) parts(name, expected, actual string, different []string) {
	*r = append(*r, Result{Name: name, Expected: expected, Actual: actual + summary(different), OK: len(different) == 0})
}
