package check_test

import (
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/leathq/leat/examples/shop/check"
)

const realFile = "../../../../shared/data/online-retail.csv.gz"

func TestRealFile(t *testing.T) {
	if _, err := os.Stat(realFile); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real order file is not here:", realFile)
	}
	e, err := check.ExpectFile(realFile)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{
		"rows": 541_909, "sum of the rows": 9_747_747_934, "gross - credits + adjustments": 9_747_747_934,
		"orders": 19_963, "lines": 530_510, "units": 5_603_531, "gross": 10_655_622_484, "gross by country": 10_655_622_484,
		"countries": 38, "articles": 4_070,
		"confirmed": 16_698, "partly cancelled": 3_104, "cancelled": 161,
		"returned": 250_838, "goods returned": 250_677, "credited by order": 473_968_460,
		"credited by country": 896_812_490, "goods adjusted": -206_957 + 57_447 - 4_501,
	}
	if got := totals(e); !equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, credits := range map[string]struct{ got, want check.Credits }{
		"returns":             {e.Returns, check.Credits{Count: 7_729, Units: 250_838, Value: 473_968_460}},
		"goodwill":            {e.Goodwill, check.Credits{Count: 54 + 1_718, Units: 26_736, Value: 422_844_030}},
		"billing adjustments": {e.BillingAdjustments, check.Credits{Count: 3, Units: 3, Value: -11_062_060}},
	} {
		if credits.got != credits.want {
			t.Errorf("%s: got %+v, want %+v", name, credits.got, credits.want)
		}
	}
	adjustments := check.Adjustments{
		Invoices: 2_098, Rows: 2_108, RowsLost: 1_336, UnitsLost: -206_957,
		RowsFound: 772, UnitsFound: 57_447, RowsCharged: 7, UnitsCharged: 4_501,
	}
	if e.Adjustments != adjustments {
		t.Errorf("adjustments: got %+v, want %+v", e.Adjustments, adjustments)
	}
	order := check.Order{Country: "United Kingdom", Lines: 7, Units: 40, Gross: 139_120, Status: check.Confirmed}
	if got := e.Orders["536365"]; got != order {
		t.Errorf("order 536365: got %+v, want %+v", got, order)
	}
}

func BenchmarkExpectRealFile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := check.ExpectFile(realFile); err != nil {
			b.Skip(err)
		}
	}
}

func totals(e *check.Expected) map[string]int64 {
	n := map[string]int64{
		"rows": int64(e.Rows), "sum of the rows": e.GrandTotal,
		"orders": int64(len(e.Orders)), "articles": int64(len(e.Stock)), "countries": int64(len(e.Gross)),
	}
	for _, o := range e.Orders {
		n["lines"] += o.Lines
		n["units"] += o.Units
		n["returned"] += o.Returned
		n["gross"] += o.Gross
		n["credited by order"] += o.Credited
		n[string(o.Status)]++
	}
	for _, m := range e.Stock {
		n["goods returned"] += m.Returned
		n["goods adjusted"] += m.Adjusted
	}
	for _, gross := range e.Gross {
		n["gross by country"] += gross
	}
	for _, credit := range e.Credit {
		n["credited by country"] += credit
	}
	n["gross - credits + adjustments"] = n["gross"] - n["credited by country"] + e.BillingAdjustments.Value
	return n
}

func equal(a, b map[string]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// small has an order of two lines, one that is cancelled whole and more, a cash
// sale, a free order, adjustments on goods and on a charge, and a bad debt.
const small = header + `1,a,X,5,2010-12-01 08:26:00,1.0,7.0,UK
1,POST,,1,2010-12-01 08:26:00,18.0,7.0,UK
2,a,X,2,2010-12-01 08:27:00,2.5,7.0,France
3,a,X,1,2010-12-01 08:28:00,0.001,,UK
3,b,X,4,2010-12-01 08:28:00,0.0,,UK
C4,a,X,-3,2010-12-01 08:29:00,1.5,7.0,UK
4,b,X,1,2010-12-01 08:30:00,0.0,8.0,UK
5,b,damages,-2,2010-12-01 08:31:00,0.0,,UK
6,DOT,found,9,2010-12-01 08:32:00,0.0,,UK
A7,B,bad debt,1,2010-12-01 08:33:00,-100.0,,UK
C8,b,X,-1,2010-12-01 08:34:00,3.0,,France
`

func expectSmall(t *testing.T) *check.Expected {
	t.Helper()
	e, err := check.Expect(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestExpect(t *testing.T) {
	e := expectSmall(t)
	orders := map[string]check.Order{
		"1": {Country: "UK", Lines: 2, Units: 6, Returned: 1, Gross: 23_000, Credited: 1_500, Status: check.PartlyCancelled},
		"2": {Country: "France", Lines: 1, Units: 2, Returned: 2, Gross: 5_000, Credited: 3_000, Status: check.Cancelled},
		"3": {Country: "UK", Lines: 2, Units: 5, Gross: 1, Status: check.Confirmed},
		"4": {Country: "UK", Lines: 1, Units: 1, Status: check.Confirmed},
	}
	for no, want := range orders {
		if got := e.Orders[no]; got != want {
			t.Errorf("order %s: got %+v, want %+v", no, got, want)
		}
	}
	stock := map[string]check.Moves{
		"a": {Sold: 8, Returned: 3}, "b": {Sold: 5, Adjusted: -2}, "POST": {}, "DOT": {}, "B": {},
	}
	for sku, want := range stock {
		if got, ok := e.Stock[sku]; got != want || !ok {
			t.Errorf("article %s: got %+v, want %+v", sku, got, want)
		}
	}
	if len(e.Orders) != len(orders) || len(e.Stock) != len(stock) {
		t.Errorf("got %d orders and %d articles, want %d and %d", len(e.Orders), len(e.Stock), len(orders), len(stock))
	}
	if !equal(e.Gross, map[string]int64{"UK": 23_001, "France": 5_000}) || !equal(e.Credit, map[string]int64{"UK": 4_500, "France": 3_000}) {
		t.Errorf("got gross %v and credit %v, want UK 23001 and France 5000, UK 4500 and France 3000", e.Gross, e.Credit)
	}
	if want := int64(28_001 - 7_500 - 100_000); e.GrandTotal != want {
		t.Errorf("sum of the rows: got %d, want %d", e.GrandTotal, want)
	}
}

func TestExpectRefuses(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"empty", "", "row 1"},
		{"no column", "InvoiceNo\n", "row 1: there is no column StockCode"},
		{"no InvoiceNo", header + ",a,X,5,2010-12-01 08:26:00,1.0,7.0,UK\n", "row 2: column InvoiceNo"},
		{"quantity", header + "1,a,X,5.5,2010-12-01 08:26:00,1.0,7.0,UK\n", "row 2: column Quantity"},
		{"price", header + "1,a,X,5,2010-12-01 08:26:00,1.0005,7.0,UK\n", "row 2: column UnitPrice"},
		{"price is text", header + "1,a,X,5,2010-12-01 08:26:00,free,7.0,UK\n", "row 2: column UnitPrice"},
		{"fields", header + "1,a,X,5\n", "row 2"},
		{"not really compressed", "\x1f\x8bnonsense", "decompress"},
	}
	for _, c := range cases {
		if _, err := check.Expect(strings.NewReader(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error that says %q", c.name, err, c.want)
		}
	}
	if _, err := check.ExpectFile("no such file.csv"); err == nil || !strings.Contains(err.Error(), "no such file.csv") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

// A judge must not lean on the judged.
func TestImportsStandardLibraryOnly(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %v, error %v", files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(path, ".") {
				t.Errorf("%s imports %s, want the standard library only", file, path)
			}
		}
	}
}
