package retail

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const timeLayout = "2006-01-02 15:04:05"

// columns of the layout, in the order in which fields holds them.
var columns = [...]string{
	colInvoice:     "InvoiceNo",
	colSKU:         "StockCode",
	colDescription: "Description",
	colQuantity:    "Quantity",
	colTime:        "InvoiceDate",
	colPrice:       "UnitPrice",
	colCustomer:    "CustomerID",
	colCountry:     "Country",
}

const (
	colInvoice = iota
	colSKU
	colDescription
	colQuantity
	colTime
	colPrice
	colCustomer
	colCountry
	numColumns
)

// fields is a row as text.
type fields struct {
	row  int
	text [numColumns]string
}

// record is a row as values.
type record struct {
	invoice, sku, description, customer, country string
	quantity, price                              int64
	time                                         time.Time
}

// fault is a RowError that does not know its row yet.
type fault struct{ column, limit, got string }

func (f *fault) at(file string, row int) *RowError {
	return &RowError{File: file, Row: row, Column: f.column, Limit: f.limit, Got: f.got}
}

// parse checks what can be said of a row alone.
func (f *fields) parse() (record, *fault) {
	for _, c := range [...]struct{ column, min, max int }{
		{colInvoice, 1, MaxNameBytes},
		{colSKU, 1, MaxNameBytes},
		{colDescription, 0, MaxTextBytes},
		{colCustomer, 0, MaxNameBytes},
		{colCountry, 1, MaxNameBytes},
	} {
		if bad := checkText(c.column, f.text[c.column], c.min, c.max); bad != nil {
			return record{}, bad
		}
	}
	r := record{
		invoice: f.text[colInvoice], sku: f.text[colSKU],
		description: f.text[colDescription], country: f.text[colCountry],
	}
	var bad *fault
	if r.quantity, bad = parseQuantity(f.text[colQuantity]); bad != nil {
		return record{}, bad
	}
	if r.time, bad = parseTime(f.text[colTime]); bad != nil {
		return record{}, bad
	}
	if r.price, bad = parsePrice(f.text[colPrice]); bad != nil {
		return record{}, bad
	}
	if r.customer, bad = parseCustomer(f.text[colCustomer]); bad != nil {
		return record{}, bad
	}
	return r, nil
}

func checkText(column int, s string, least, most int) *fault {
	if len(s) >= least && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return nil
	}
	got := brief(s)
	if s == "" {
		got = "nothing"
	}
	return &fault{columns[column], fmt.Sprintf("%d to %d bytes of UTF-8 without control characters", least, most), got}
}

func parseQuantity(s string) (int64, *fault) {
	n, ok := parseInteger(s)
	if !ok || n == 0 || n > MaxQuantity || n < -MaxQuantity {
		return 0, &fault{columns[colQuantity], fmt.Sprintf("an integer of 1 to %d or -1 to -%[1]d", MaxQuantity), brief(s)}
	}
	return n, nil
}

// parsePrice reads a decimal as text, because no binary fraction is £0.001.
func parsePrice(s string) (int64, *fault) {
	pounds, fraction, point := strings.Cut(s, ".")
	if !point {
		fraction = "0"
	}
	if isDigits(strings.TrimPrefix(pounds, "-")) && isDigits(fraction) && len(fraction) <= 3 {
		n, ok := parseInteger(pounds + fraction + "000"[len(fraction):])
		if ok && n <= MaxPrice && n >= -MaxPrice {
			return n, nil
		}
	}
	return 0, &fault{columns[colPrice], fmt.Sprintf("a decimal of at most 3 decimals within ±%d", MaxPrice/1000), brief(s)}
}

// parseInteger is stricter than strconv: digits with an optional minus.
func parseInteger(s string) (int64, bool) {
	digits := strings.TrimPrefix(s, "-")
	if !isDigits(digits) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func parseTime(s string) (time.Time, *fault) {
	t, err := time.Parse(timeLayout, s)
	// Parse takes fractions of a second that the layout does not have.
	if err != nil || len(s) != len(timeLayout) || t.Year() < 1900 || t.Year() > 2199 {
		return time.Time{}, &fault{columns[colTime], `a time such as "2010-12-01 08:26:00" between the years 1900 and 2199`, brief(s)}
	}
	return t, nil
}

// parseCustomer drops the ".0" of an ID that went through a spreadsheet.
func parseCustomer(s string) (string, *fault) {
	id := strings.TrimSuffix(s, ".0")
	if s != "" && !isDigits(id) {
		return "", &fault{columns[colCustomer], `digits, with or without a ".0" behind, or nothing`, brief(s)}
	}
	return id, nil
}

// brief quotes s, cut to what a person wants to read in a message.
func brief(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return strconv.Quote(s)
}
