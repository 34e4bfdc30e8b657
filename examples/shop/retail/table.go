package retail

import (
	"fmt"
	"strings"
)

// table is the file in memory, each text once.
type table struct {
	invoices []invoice // in order of first appearance
	numbers  map[string]int32
	rows     []row
	skus     interner
	texts    interner // descriptions, customers, countries
	total    int64    // of the rows' values, signs ignored
}

// invoice is what is known of an invoice while its rows are gathered.
type invoice struct {
	Header
	rows   int
	priced bool // has a price above zero
}

type row struct {
	price    int64
	invoice  int32
	sku      int32
	text     int32 // description
	quantity int32
	row      int32
}

func newTable() *table {
	return &table{numbers: map[string]int32{}, skus: newInterner(), texts: newInterner()}
}

// add checks a row and gathers it.
func (t *table) add(f fields) *fault {
	r, bad := f.parse()
	if bad != nil {
		return bad
	}
	if t.total += abs(r.quantity * r.price); t.total > MaxTotal {
		return &fault{columns[colPrice], fmt.Sprintf("such that the values of all rows together stay within £%d", MaxTotal/1000), brief(f.text[colPrice])}
	}
	i := t.invoice(r, f.row)
	if bad := t.invoices[i].join(r); bad != nil {
		return bad
	}
	t.rows = append(t.rows, row{
		price: r.price, invoice: i, sku: t.skus.id(r.sku), text: t.texts.id(r.description),
		quantity: int32(r.quantity), row: int32(f.row),
	})
	return nil
}

// invoice returns the index of the row's invoice, new when it is its first row.
func (t *table) invoice(r record, at int) int32 {
	if i, ok := t.numbers[r.invoice]; ok {
		return i
	}
	i := int32(len(t.invoices))
	no := strings.Clone(r.invoice)
	t.numbers[no] = i
	t.invoices = append(t.invoices, invoice{Header: Header{
		Invoice: no, Customer: t.texts.text(r.customer), Country: t.texts.text(r.country), Time: r.time, Row: at,
	}})
	return i
}

// join checks a row against what its invoice is so far.
func (v *invoice) join(r record) *fault {
	kind := v.kind()
	switch {
	case r.customer != v.Customer:
		return &fault{columns[colCustomer], fmt.Sprintf("that of the invoice's first row (%d): %q", v.Row, v.Customer), brief(r.customer)}
	case r.country != v.Country:
		return &fault{columns[colCountry], fmt.Sprintf("that of the invoice's first row (%d): %q", v.Row, v.Country), brief(r.country)}
	case r.price < 0 && kind != kindBilling:
		return &fault{columns[colPrice], "zero or more (only invoices A… have prices below)", fmt.Sprintf("%d tenths of a penny", r.price)}
	case r.quantity > 0 && kind == kindCancellation:
		return &fault{columns[colQuantity], "below zero in a cancellation (an invoice C…)", fmt.Sprint(r.quantity)}
	case v.rows == MaxLines:
		return &fault{columns[colInvoice], fmt.Sprintf("that of at most %d rows", MaxLines), brief(r.invoice)}
	}
	v.rows++
	v.priced = v.priced || r.price > 0
	return nil
}

type kind int

const (
	kindOrder kind = iota
	kindAdjustment
	kindBilling
	kindCancellation
)

// kind tells what the invoice is, given the rows gathered so far.
func (v *invoice) kind() kind {
	switch {
	case v.Invoice[0] == 'A':
		return kindBilling
	case v.Invoice[0] == 'C':
		return kindCancellation
	case v.Customer != "" || v.priced:
		return kindOrder
	}
	return kindAdjustment
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// interner keeps each string once, in order of first appearance.
type interner struct {
	ids  map[string]int32
	list []string
}

func newInterner() interner { return interner{ids: map[string]int32{}} }

func (n *interner) id(s string) int32 {
	if id, ok := n.ids[s]; ok {
		return id
	}
	id := int32(len(n.list))
	s = strings.Clone(s)
	n.ids[s] = id
	n.list = append(n.list, s)
	return id
}

func (n *interner) text(s string) string { return n.list[n.id(s)] }
