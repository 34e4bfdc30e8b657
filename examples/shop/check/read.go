package check

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// readInvoices returns the invoices in order of first appearance.
func readInvoices(r io.Reader) ([]*invoice, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("row 1: %w", err)
	}
	l := ledger{places: map[string]int{}, byNo: map[string]*invoice{}, texts: map[string]string{}, prices: map[string]int64{}}
	for i, name := range header {
		l.places[strings.TrimPrefix(name, "\ufeff")] = i
	}
	for _, name := range []string{"InvoiceNo", "StockCode", "Quantity", "UnitPrice", "CustomerID", "Country"} {
		if _, ok := l.places[name]; !ok {
			return nil, fmt.Errorf("row 1: there is no column %s", name)
		}
	}
	for row := 2; ; row++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return l.invoices, nil
		}
		if err == nil {
			err = l.enter(record)
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", row, err)
		}
	}
}

// ledger gathers rows. It keeps each text once and converts each price once,
// because a file has half a million of them and few are different.
type ledger struct {
	places   map[string]int // of the columns
	invoices []*invoice
	byNo     map[string]*invoice
	texts    map[string]string
	prices   map[string]int64
}

func (l *ledger) enter(record []string) error {
	no := record[l.places["InvoiceNo"]]
	if no == "" {
		return errors.New("column InvoiceNo: it is empty")
	}
	units, err := strconv.ParseInt(record[l.places["Quantity"]], 10, 64)
	if err != nil {
		return fmt.Errorf("column Quantity: %w", err)
	}
	price, err := l.price(record[l.places["UnitPrice"]])
	if err != nil {
		return fmt.Errorf("column UnitPrice: %w", err)
	}
	v := l.byNo[no]
	if v == nil {
		customer, _, _ := strings.Cut(record[l.places["CustomerID"]], ".")
		v = &invoice{no: l.text(no), customer: l.text(customer), country: l.text(record[l.places["Country"]])}
		l.byNo[v.no] = v
		l.invoices = append(l.invoices, v)
	}
	v.items = append(v.items, item{l.text(record[l.places["StockCode"]]), units, price})
	return nil
}

func (l *ledger) text(s string) string {
	kept, ok := l.texts[s]
	if !ok {
		kept = strings.Clone(s)
		l.texts[kept] = kept
	}
	return kept
}

// price converts pounds to tenths of a penny by exact fractions.
func (l *ledger) price(pounds string) (int64, error) {
	if tenths, ok := l.prices[pounds]; ok {
		return tenths, nil
	}
	x, ok := new(big.Rat).SetString(pounds)
	if !ok {
		return 0, fmt.Errorf("%q is not a number", pounds)
	}
	x.Mul(x, big.NewRat(1000, 1))
	if !x.IsInt() || !x.Num().IsInt64() {
		return 0, fmt.Errorf("%q is not a number of tenths of a penny", pounds)
	}
	l.prices[strings.Clone(pounds)] = x.Num().Int64()
	return x.Num().Int64(), nil
}
