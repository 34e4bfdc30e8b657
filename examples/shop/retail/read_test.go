package retail_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat/examples/shop/retail"
)

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// good is a row without fault.
const good = "536365,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n"

func TestReadRefuses(t *testing.T) {
	cases := []struct {
		name   string
		file   string
		row    int
		column string
		limit  string // part of it
		got    string
	}{
		{"empty file", "", 1, "", "a header", "an empty file"},
		{"missing column", strings.Replace(header, "Quantity", "Qty", 1) + good, 1, "Quantity", "in the header", "InvoiceNo,"},
		{"column twice", strings.Replace(header, "Description", "Country", 1) + good, 1, "Description", "in the header", ""},
		{"same column twice", strings.TrimSpace(header) + ",Country\n", 1, "Country", "once", ""},
		{"too few fields", header + good + "\n536365,85123A,6\n", 4, "", "8 fields", "3"},
		{"too many fields", header + strings.TrimSpace(good) + ",x\n", 2, "", "8 fields", ""},
		{"bare quote", row("Description", `A "QUOTE`), 2, "", "quoted as in RFC 4180", ""},
		{"quote left open", row("Description", `"LANTERN`), 2, "", "quoted as in RFC 4180", ""},
		{"quote left open over many rows", row("Description", `"LANTERN`) + strings.Repeat(good, 2000), 2, "", "at most 65536 bytes", "quote left open"},
		{"row too long", row("Description", strings.Repeat("x", 80<<10)), 2, "", "at most 65536 bytes", ""},

		{"no InvoiceNo", row("InvoiceNo", ""), 2, "InvoiceNo", "1 to 64 bytes of UTF-8", "nothing"},
		{"long InvoiceNo", row("InvoiceNo", strings.Repeat("1", 65)), 2, "InvoiceNo", "1 to 64 bytes", "(65 bytes)"},
		{"no StockCode", row("StockCode", ""), 2, "StockCode", "1 to 64 bytes", "nothing"},
		{"StockCode not UTF-8", row("StockCode", "85\xff"), 2, "StockCode", "UTF-8", `"85\xff"`},
		{"Description not UTF-8", row("Description", "CAF\xc9"), 2, "Description", "UTF-8", `"CAF\xc9"`},
		{"control character", row("Description", "RED\x1b[31m"), 2, "Description", "without control characters", `\x1b[31m`},
		{"line break in a code", row("StockCode", "\"85\n1\""), 2, "StockCode", "without control characters", ""},
		{"long Description", row("Description", strings.Repeat("x", 129)), 2, "Description", "0 to 128 bytes", "(129 bytes)"},
		{"no Country", row("Country", ""), 2, "Country", "1 to 64 bytes", "nothing"},

		{"quantity zero", row("Quantity", "0"), 2, "Quantity", "1 to 1000000", `"0"`},
		{"quantity absurd", row("Quantity", "1000001"), 2, "Quantity", "1 to 1000000", `"1000001"`},
		{"quantity overflows", row("Quantity", "9223372036854775808"), 2, "Quantity", "1 to 1000000", ""},
		{"quantity with decimals", row("Quantity", "6.0"), 2, "Quantity", "an integer", `"6.0"`},
		{"quantity with plus", row("Quantity", "+6"), 2, "Quantity", "an integer", ""},
		{"quantity with space", row("Quantity", " 6"), 2, "Quantity", "an integer", ""},
		{"no quantity", row("Quantity", ""), 2, "Quantity", "an integer", `""`},
		{"order with a quantity below zero", header + good + with("Quantity", "-1"), 3, "Quantity", "above zero in an order", "-1"},
		{"cash order with a quantity below zero",
			header + "1,A,,-1,2010-12-01 08:26:00,0.0,,UK\n1,A,,1,2010-12-01 08:26:00,1.0,,UK\n", 2, "Quantity", "above zero in an order", "-1"},
		{"cancellation above zero", row("InvoiceNo", "C1"), 2, "Quantity", "below zero in a cancellation", "6"},

		{"price with four decimals", row("UnitPrice", "0.0001"), 2, "UnitPrice", "at most 3 decimals", `"0.0001"`},
		{"price too high", row("UnitPrice", "1000000.001"), 2, "UnitPrice", "within ±1000000", ""},
		{"price with exponent", row("UnitPrice", "1e3"), 2, "UnitPrice", "a decimal", ""},
		{"price with comma", row("UnitPrice", `"2,55"`), 2, "UnitPrice", "a decimal", ""},
		{"price without pounds", row("UnitPrice", ".55"), 2, "UnitPrice", "a decimal", ""},
		{"price without decimals", row("UnitPrice", "2."), 2, "UnitPrice", "a decimal", ""},
		{"price is a minus", row("UnitPrice", "-.5"), 2, "UnitPrice", "a decimal", ""},
		{"price with a minus inside", row("UnitPrice", "2.-5"), 2, "UnitPrice", "a decimal", ""},
		{"price is NaN", row("UnitPrice", "NaN"), 2, "UnitPrice", "a decimal", ""},
		{"price below zero in an order", row("UnitPrice", "-2.55"), 2, "UnitPrice", "zero or more", "-2550"},
		{"values too high together",
			header + strings.Repeat("A1,B,,1000000,2010-12-01 08:26:00,1000000,,UK\n", 2), 3, "UnitPrice", "within £1000000000000", ""},

		{"no date", row("InvoiceDate", ""), 2, "InvoiceDate", "2010-12-01 08:26:00", `""`},
		{"date the other way round", row("InvoiceDate", "12/1/2010 8:26"), 2, "InvoiceDate", "2010-12-01 08:26:00", ""},
		{"no such day", row("InvoiceDate", "2011-02-29 08:26:00"), 2, "InvoiceDate", "a time such as", ""},
		{"fraction of a second", row("InvoiceDate", "2011-02-28 08:26:00.5"), 2, "InvoiceDate", "a time such as", ""},
		{"year too early", row("InvoiceDate", "1600-01-01 00:00:00"), 2, "InvoiceDate", "1900 and 2199", ""},

		{"customer is no number", row("CustomerID", "Smith"), 2, "CustomerID", "digits", `"Smith"`},
		{"customer is a fraction", row("CustomerID", "17850.5"), 2, "CustomerID", "digits", ""},
		{"customer is only .0", row("CustomerID", ".0"), 2, "CustomerID", "digits", ""},
		{"two customers", header + good + with("CustomerID", "17851.0"), 3, "CustomerID", `first row (2): "17850"`, `"17851"`},
		{"two countries", header + good + with("Country", "France"), 3, "Country", `first row (2): "United Kingdom"`, `"France"`},
		{"too many rows of an invoice", header + strings.Repeat(good, 5_001), 5_002, "InvoiceNo", "at most 5000 rows", `"536365"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plan, err := retail.Read("orders.csv", strings.NewReader(c.file))
			var bad *retail.RowError
			if !errors.As(err, &bad) {
				t.Fatalf("got plan %v and error %v, want a RowError", plan, err)
			}
			if plan != nil {
				t.Error("got a plan beside the error")
			}
			if bad.File != "orders.csv" || bad.Row != c.row || bad.Column != c.column {
				t.Errorf("got file %q, row %d, column %q, want orders.csv, row %d, column %q", bad.File, bad.Row, bad.Column, c.row, c.column)
			}
			if !strings.Contains(bad.Limit, c.limit) || !strings.Contains(bad.Got, c.got) {
				t.Errorf("got %q, want limit %q, got %q", bad, c.limit, c.got)
			}
			for _, part := range []string{bad.File, fmt.Sprintf("row %d", c.row), c.column, bad.Limit, bad.Got} {
				if !strings.Contains(bad.Error(), part) {
					t.Errorf("%q does not say %q", bad, part)
				}
			}
		})
	}
}

// row returns a file of one row, good but for one column's text.
func row(column, text string) string { return header + with(column, text) }

func with(column, text string) string {
	names := strings.Split(strings.TrimSpace(header), ",")
	fields := strings.Split(strings.TrimSpace(good), ",")
	for i := range names {
		if names[i] == column {
			fields[i] = text
		}
	}
	return strings.Join(fields, ",") + "\n"
}

func TestReadRefusesFile(t *testing.T) {
	whole := compress(t, header+strings.Repeat(good, 3000))
	cases := []struct {
		name, file, want string
	}{
		{"header only", header, "no rows"},
		{"compressed and cut", whole[:len(whole)/2], "unexpected EOF"},
		{"compressed and damaged", whole[:len(whole)-6] + "xx" + whole[len(whole)-4:], "checksum"},
		{"not really compressed", "\x1f\x8bnonsense of some length", "gzip"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plan, err := retail.Read("orders.csv.gz", strings.NewReader(c.file))
			if plan != nil || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "orders.csv.gz") {
				t.Errorf("got plan %v and error %v, want an error that says orders.csv.gz and %q", plan, err, c.want)
			}
		})
	}
	if _, err := retail.ReadFile("no such file.csv"); err == nil || !strings.Contains(err.Error(), "no such file.csv") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func compress(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever way a file is written, it says the same.
func TestReadForms(t *testing.T) {
	want := read(t, header+good)
	forms := map[string]string{
		"compressed":           compress(t, header+good),
		"byte order mark":      "\ufeff" + header + good,
		"carriage returns":     strings.ReplaceAll(header+good, "\n", "\r\n"),
		"no newline at end":    strings.TrimSpace(header + good),
		"quoted":               header + `"536365","85123A","LANTERN","6","2010-12-01 08:26:00","2.55","17850.0","United Kingdom"` + "\n",
		"customer as integer":  strings.Replace(header+good, "17850.0", "17850", 1),
		"price in three":       strings.Replace(header+good, "2.55", "2.550", 1),
		"other columns, order": "x,Country,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo\n1,United Kingdom,17850.0,2.55,2010-12-01 08:26:00,6,LANTERN,85123A,536365\n",
	}
	for name, file := range forms {
		if got := read(t, file); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	order := want.Steps[0].(*retail.Order)
	head := retail.Header{
		Invoice: "536365", Customer: "17850", Country: "United Kingdom", Row: 2,
		Time: time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC),
	}
	line := retail.Line{Ordinal: 1, SKU: "85123A", Description: "LANTERN", Quantity: 6, Price: 2550}
	if order.Header != head || len(order.Lines) != 1 || order.Lines[0] != line || line.Amount() != 15_300 {
		t.Errorf("got %+v, want header %+v and line %+v", order, head, line)
	}
}

func TestReadTellsStepsApart(t *testing.T) {
	at := func(invoice, sku, text, quantity, price, customer string) string {
		return strings.Join([]string{invoice, sku, text, quantity, "2010-12-01 08:26:00", price, customer, "EIRE"}, ",") + "\n"
	}
	cases := []struct {
		name, rows string
		want       string
		key        string
	}{
		{"order", at("1", "a", "X", "2", "0.001", "7.0"), "order 1: a X 2 at 1", "customer 7"},
		{"order at no price", at("1", "a", "X", "2", "0.0", "7.0"), "order 1: a X 2 at 0", "customer 7"},
		{"cash sale, first line at no price", at("1", "a", "X", "2", "0.0", "") + at("1", "A", "Y", "1", "3", ""), "order 1: a X 2 at 0, A Y 1 at 3000", "invoice 1"},
		{"adjustment", at("1", "a", "found", "2", "0.0", "") + at("1", "DOT", "", "-1", "0", ""), "adjustment 1: a found 2, DOT  -1 charge", "invoice 1"},
		{"billing adjustment", at("A1", "B", "bad debt", "1", "-11062.06", ""), "billing A1: B bad debt 1 at -11062060", "invoice A1"},
		{"cancellation", at("C1", "a", "X", "-2", "0.5", "7.0"), "cancellation C1: 1/1 2 at 500 goodwill", "customer 7"},
		{"cash cancellation", at("C1", "a", "X", "-2", "0.5", ""), "cancellation C1: 1/1 2 at 500 goodwill", "invoice C1"},
		{"equal lines", at("1", "a", "X", "2", "1.0", "7.0") + at("1", "a", "X", "2", "1.0", "7.0"), "order 1: a X 2 at 1000, a X 2 at 1000", "customer 7"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plan := read(t, header+c.rows)
			if len(plan.Steps) != 1 {
				t.Fatalf("got %d steps, want 1", len(plan.Steps))
			}
			if got := describe(plan.Steps[0]); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := plan.Steps[0].Key(); got != c.key {
				t.Errorf("got key %q, want %q", got, c.key)
			}
		})
	}
}

func TestReadInterruptedInvoice(t *testing.T) {
	other := "C9,85123A,LANTERN,-4,2010-12-01 08:25:00,2.55,17850.0,United Kingdom\n"
	later := strings.Replace(good, "08:26", "08:27", 1)
	plan := read(t, header+good+other+later)
	var got []string
	for _, s := range plan.Steps {
		got = append(got, fmt.Sprint(describe(s), " ", s.Head().Time.Format("15:04"), " row ", s.Head().Row))
	}
	want := []string{
		"order 536365: 85123A LANTERN 6 at 2550, 85123A LANTERN 6 at 2550 08:26 row 2",
		"cancellation C9: 1/1 4 at 2550 of 536365/2 08:25 row 3",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCatalogue(t *testing.T) {
	plan := read(t, header+good+
		strings.Replace(good, "85123A,LANTERN", "85123a,lantern", 1)+
		strings.Replace(good, "LANTERN", "", 1)+
		strings.Replace(good, "LANTERN", "WRONG", 1)+
		strings.Replace(good, "85123A,LANTERN", "POST,", 1)+good)
	want := []retail.Article{
		{SKU: "85123A", Descriptions: []string{"LANTERN", "WRONG"}},
		{SKU: "85123a", Descriptions: []string{"lantern"}},
		{SKU: "POST", Charge: true},
	}
	if !reflect.DeepEqual(plan.Catalogue, want) {
		t.Errorf("got %+v, want %+v", plan.Catalogue, want)
	}
}

func read(t testing.TB, file string) *retail.Plan {
	t.Helper()
	plan, err := retail.Read("orders.csv", strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// describe says what a step is in a line.
func describe(step retail.Step) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	lines := func(lines []retail.Line) {
		for _, l := range lines {
			add("%s %s %d at %d", l.SKU, l.Description, l.Quantity, l.Price)
		}
	}
	kind := ""
	switch s := step.(type) {
	case *retail.Order:
		kind = "order"
		lines(s.Lines)
	case *retail.BillingAdjustment:
		kind = "billing"
		lines(s.Lines)
	case *retail.Adjustment:
		kind = "adjustment"
		for _, c := range s.Changes {
			add("%s %s %d%s", c.SKU, c.Reason, c.Quantity, map[bool]string{true: " charge"}[c.Charge])
		}
	case *retail.Cancellation:
		kind = "cancellation"
		for _, p := range s.Pieces {
			from := "goodwill"
			if !p.Goodwill() {
				from = fmt.Sprintf("of %s/%d", p.Order, p.Line)
			}
			add("%d/%d %d at %d %s", p.Ordinal, p.Number, p.Units, p.Price, from)
		}
	}
	return fmt.Sprintf("%s %s: %s", kind, step.Head().Invoice, strings.Join(parts, ", "))
}

// FuzzRead reads a row of any bytes: it is refused with its row, or taken as
// what it says.
func FuzzRead(f *testing.F) {
	f.Add(strings.TrimSpace(good))
	f.Add(`C1,"a ""b"", c",x,-3,2011-02-28 23:59:59,0.001,,EIRE`)
	f.Add("A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom")
	f.Add("1,2,3,-4,2010-12-01 08:26:00,0.0,,\xff")
	f.Fuzz(func(t *testing.T, text string) {
		plan, err := retail.Read("orders.csv", strings.NewReader(header+text+"\n"))
		if err != nil {
			var bad *retail.RowError
			if errors.As(err, &bad) && bad.Row < 2 {
				t.Errorf("got %v, want a row from 2 on", err)
			}
			return
		}
		rows := rawRows(t, strings.NewReader(header+text+"\n"))
		if plan.Rows != len(rows) {
			t.Fatalf("got %d rows, want %d", plan.Rows, len(rows))
		}
		want := new(big.Rat)
		for _, row := range rows {
			quantity, ok1 := new(big.Rat).SetString(row[3])
			price, ok2 := new(big.Rat).SetString(row[5])
			if !ok1 || !ok2 {
				t.Fatalf("took quantity %q and price %q", row[3], row[5])
			}
			want.Add(want, quantity.Mul(quantity, price))
		}
		if got := big.NewRat(value(plan), 1000); got.Cmp(want) != 0 {
			t.Errorf("%q: got a value of %s pounds, want %s", text, got.FloatString(3), want.FloatString(3))
		}
	})
}

// value adds up what all steps are worth.
func value(plan *retail.Plan) int64 {
	var total int64
	for _, s := range plan.Steps {
		switch s := s.(type) {
		case *retail.Order:
			for _, l := range s.Lines {
				total += l.Amount()
			}
		case *retail.BillingAdjustment:
			for _, l := range s.Lines {
				total += l.Amount()
			}
		case *retail.Cancellation:
			for _, p := range s.Pieces {
				total -= p.Amount()
			}
		}
	}
	return total
}
