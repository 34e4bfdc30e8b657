package check

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
)

// ExpectFile computes the totals of the order file at path, see Expect.
func ExpectFile(path string) (*Expected, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("check: open order file: %w", err)
	}
	defer f.Close()
	return Expect(f)
}

// Expect computes the totals of an order file, plain or compressed with gzip.
// It is for files that the shop has taken: its errors name the row (the header
// is row 1) and the text that it cannot make sense of, no more.
func Expect(r io.Reader) (*Expected, error) {
	b := bufio.NewReader(r)
	r = b
	if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
		plain, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("check: decompress order file: %w", err)
		}
		r = plain
	}
	invoices, err := readInvoices(r)
	if err != nil {
		return nil, fmt.Errorf("check: read order file: %w", err)
	}
	return tally(invoices), nil
}

// invoice is the rows of one InvoiceNo.
type invoice struct {
	no, customer, country string
	items                 []item
}

type item struct {
	sku   string
	units int64
	price int64
}

// tally applies the rules to the invoices, one after the other.
func tally(invoices []*invoice) *Expected {
	e := &Expected{
		Orders: map[string]Order{}, Stock: map[string]Moves{},
		Gross: map[string]int64{}, Credit: map[string]int64{},
	}
	purchases := map[string][]purchase{}
	for _, v := range invoices {
		e.Rows += len(v.items)
		for _, it := range v.items {
			e.GrandTotal += it.units * it.price
			e.move(it.sku, Moves{}) // so that every article is there
		}
		switch {
		case v.no[0] == 'A':
			e.billingAdjustment(v)
		case v.no[0] == 'C':
			e.cancellation(v, purchases[v.customer])
		case v.customer != "" || slices.ContainsFunc(v.items, func(it item) bool { return it.price > 0 }):
			e.order(v)
			purchases[v.customer] = append(purchases[v.customer], bought(v)...)
		default:
			e.adjustment(v)
		}
	}
	for no, o := range e.Orders {
		o.Status = statusOf(o)
		e.Orders[no] = o
	}
	return e
}

func statusOf(o Order) Status {
	switch o.Returned {
	case 0:
		return Confirmed
	case o.Units:
		return Cancelled
	}
	return PartlyCancelled
}

func (e *Expected) order(v *invoice) {
	o := Order{Country: v.country, Lines: int64(len(v.items))}
	for _, it := range v.items {
		o.Units += it.units
		o.Gross += it.units * it.price
		e.move(it.sku, Moves{Sold: it.units})
	}
	e.Orders[v.no] = o
	e.Gross[v.country] += o.Gross
}

func (e *Expected) billingAdjustment(v *invoice) {
	for _, it := range v.items {
		e.BillingAdjustments.add(it.units, it.price)
	}
}

func (e *Expected) adjustment(v *invoice) {
	a := &e.Adjustments
	a.Invoices++
	for _, it := range v.items {
		a.Rows++
		if it.units < 0 {
			a.RowsLost++
			a.UnitsLost += it.units
		} else {
			a.RowsFound++
			a.UnitsFound += it.units
		}
		if charges[it.sku] {
			a.RowsCharged++
			a.UnitsCharged += it.units
		}
		e.move(it.sku, Moves{Adjusted: it.units})
	}
}

// purchase is a line of an order with the units of it that are still out.
type purchase struct {
	order string
	sku   string
	out   int64
}

func bought(v *invoice) []purchase {
	if v.customer == "" {
		return nil // a cash sale cannot be found again
	}
	lines := make([]purchase, len(v.items))
	for i, it := range v.items {
		lines[i] = purchase{v.no, it.sku, it.units}
	}
	return lines
}

// cancellation looks through all that the customer ever bought, newest line
// first, for each row anew. That is slow and as the rule has it.
func (e *Expected) cancellation(v *invoice, history []purchase) {
	for _, it := range v.items {
		wanted := -it.units
		e.Credit[v.country] += wanted * it.price
		for i := len(history) - 1; i >= 0 && wanted > 0; i-- {
			line := &history[i]
			if line.sku != it.sku || line.out == 0 {
				continue
			}
			units := min(wanted, line.out)
			wanted -= units
			line.out -= units
			e.Returns.add(units, it.price)
			e.move(it.sku, Moves{Returned: units})
			o := e.Orders[line.order]
			o.Returned += units
			o.Credited += units * it.price
			e.Orders[line.order] = o
		}
		if wanted > 0 {
			e.Goodwill.add(wanted, it.price)
		}
	}
}

func (c *Credits) add(units, price int64) {
	c.Count++
	c.Units += units
	c.Value += units * price
}

// charges are the StockCodes that stand for no goods.
var charges = map[string]bool{
	"AMAZONFEE": true, "B": true, "BANK CHARGES": true, "C2": true, "CRUK": true, "D": true,
	"DOT": true, "M": true, "POST": true, "S": true, "m": true,
}

func (e *Expected) move(sku string, m Moves) {
	if charges[sku] {
		m = Moves{}
	}
	s := e.Stock[sku]
	s.Sold += m.Sold
	s.Returned += m.Returned
	s.Adjusted += m.Adjusted
	e.Stock[sku] = s
}
