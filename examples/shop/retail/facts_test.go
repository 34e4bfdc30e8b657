package retail_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leathq/leat/examples/shop/retail"
)

const realFile = "../../../../shared/data/online-retail.csv.gz"

func TestRealFile(t *testing.T) {
	raw := readReal(t)
	plan, err := retail.ReadFile(realFile)
	if err != nil {
		t.Fatal(err)
	}
	got := facts(t, raw, plan)
	want := map[string]int64{
		"rows": 541_909, "rows without a customer": 135_080, "rows without a description": 1_454,
		"exact duplicates": 5_268, "rows at £0.001": 4,
		"invoices interrupted": 1, "invoices over two minutes": 43,
		"articles": 4_070, "articles in lower case twice": 112, "charges": 11, "articles with several descriptions": 650,
		"most descriptions": 8,

		"orders": 19_963, "order lines": 530_510, "units": 5_603_531, "gross": 10_655_622_484,
		"lines of the longest order": 1_114, "lines at no price": 407, "orders at no price": 4, "cash sales": 1_427,

		"billing adjustments": 3, "billing adjustments net": -11_062_060,

		"adjustments": 2_098, "adjustment rows": 2_108, "lost rows": 1_336, "lost units": -206_957,
		"found rows": 772, "found units": 57_447, "charge rows": 7, "charge units": 4_501,

		"cancellations": 3_836, "cancellation rows": 9_288, "cancelled units": 277_574, "credited": 896_812_490,
		"cash cancellation rows": 383, "rows matched": 7_516, "rows matched in part": 54, "rows not matched": 1_718,
		"pieces of orders": 7_729, "units returned": 250_838, "goods returned": 250_677, "returns credited": 473_968_460,
		"goodwill units": 26_736, "goodwill credited": 422_844_030,
		"orders cancelled": 161, "orders cancelled in part": 3_104,

		"balance": 9_747_747_934, "sum of the rows": 9_747_747_934,
	}
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s: got %d, want %d", name, got[name], n)
		}
	}
	var order *retail.Order
	for _, s := range plan.Steps {
		if s.Head().Invoice == "536365" {
			order = s.(*retail.Order)
		}
	}
	if order == nil || order.Key() != "customer 17850" || len(order.Lines) != 7 || order.Lines[0].Price != 2550 {
		t.Errorf("order 536365: got %+v, want 7 lines of customer 17850, the first at 2550", order)
	}
}

func BenchmarkReadRealFile(b *testing.B) {
	readReal(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := retail.ReadFile(realFile); err != nil {
			b.Fatal(err)
		}
	}
}

// readReal returns the rows of the real file as text.
func readReal(t testing.TB) [][]string {
	t.Helper()
	f, err := os.Open(realFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real order file is not here:", realFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return rawRows(t, plain)
}

func rawRows(t testing.TB, r io.Reader) [][]string {
	t.Helper()
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

// facts counts what is said of the real file and its plan: what the rows say as
// text, and what the plan made of them.
func facts(t *testing.T, raw [][]string, plan *retail.Plan) map[string]int64 {
	t.Helper()
	n := map[string]int64{"rows": int64(plan.Rows)}
	rowFacts(t, n, raw)
	articleFacts(n, plan.Catalogue)
	left := map[string]int64{} // units of each order that were not returned
	for _, s := range plan.Steps {
		switch s := s.(type) {
		case *retail.Order:
			orderFacts(n, s)
			for _, l := range s.Lines {
				left[s.Invoice] += l.Quantity
			}
		case *retail.Adjustment:
			adjustmentFacts(n, s)
		case *retail.BillingAdjustment:
			n["billing adjustments"]++
			for _, l := range s.Lines {
				n["billing adjustments net"] += l.Amount()
			}
		case *retail.Cancellation:
			cancellationFacts(t, n, s, left)
		default:
			t.Fatalf("a step is a %T", s)
		}
	}
	statusFacts(t, n, plan, left)
	n["balance"] = n["gross"] - n["credited"] + n["billing adjustments net"]
	return n
}

func rowFacts(t *testing.T, n map[string]int64, raw [][]string) {
	sum := new(big.Rat)
	seen := map[string]bool{}
	last := map[string]int{}    // where an invoice's last row was
	date := map[string]string{} // of an invoice's first row
	late := map[string]bool{}
	for i, row := range raw {
		quantity, err := strconv.ParseInt(row[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		pounds, ok := new(big.Rat).SetString(row[5])
		if !ok {
			t.Fatalf("price %q", row[5])
		}
		sum.Add(sum, pounds.Mul(pounds, big.NewRat(1000*quantity, 1)))
		if row[6] == "" {
			n["rows without a customer"]++
		}
		if row[2] == "" {
			n["rows without a description"]++
		}
		if row[5] == "0.001" {
			n["rows at £0.001"]++
		}
		text := strings.Join(row, "\x00")
		if seen[text] {
			n["exact duplicates"]++
		}
		seen[text] = true
		if before, ok := last[row[0]]; ok && before != i-1 {
			n["invoices interrupted"]++
		}
		last[row[0]] = i
		if date[row[0]] == "" {
			date[row[0]] = row[4]
		}
		if date[row[0]] != row[4] {
			late[row[0]] = true
		}
	}
	n["invoices over two minutes"] = int64(len(late))
	n["sum of the rows"] = sum.Num().Int64() // a whole number of tenths of a penny
}

func articleFacts(n map[string]int64, catalogue []retail.Article) {
	folded := map[string]bool{}
	for _, a := range catalogue {
		n["articles"]++
		if folded[strings.ToUpper(a.SKU)] {
			n["articles in lower case twice"]++
		}
		folded[strings.ToUpper(a.SKU)] = true
		if a.Charge {
			n["charges"]++
		}
		if len(a.Descriptions) > 1 {
			n["articles with several descriptions"]++
		}
		n["most descriptions"] = max(n["most descriptions"], int64(len(a.Descriptions)))
	}
}

func orderFacts(n map[string]int64, o *retail.Order) {
	n["orders"]++
	if o.Customer == "" {
		n["cash sales"]++
	}
	gross := n["gross"]
	for _, l := range o.Lines {
		n["order lines"]++
		n["units"] += l.Quantity
		n["gross"] += l.Amount()
		if l.Price == 0 {
			n["lines at no price"]++
		}
	}
	if gross == n["gross"] {
		n["orders at no price"]++
	}
	n["lines of the longest order"] = max(n["lines of the longest order"], int64(len(o.Lines)))
}

func adjustmentFacts(n map[string]int64, a *retail.Adjustment) {
	n["adjustments"]++
	for _, c := range a.Changes {
		n["adjustment rows"]++
		sign := "found"
		if c.Quantity < 0 {
			sign = "lost"
		}
		n[sign+" rows"]++
		n[sign+" units"] += c.Quantity
		if c.Reason == "" {
			n[sign+" rows without a reason"]++
		}
		if c.Charge {
			n["charge rows"]++
			n["charge units"] += c.Quantity
		}
	}
}

func cancellationFacts(t *testing.T, n map[string]int64, c *retail.Cancellation, left map[string]int64) {
	n["cancellations"]++
	rows := map[int][]retail.Piece{}
	for _, p := range c.Pieces {
		rows[p.Ordinal] = append(rows[p.Ordinal], p)
		if p.Number != len(rows[p.Ordinal]) || p.Units <= 0 {
			t.Errorf("%s: piece %+v: want number %d and units above zero", c.Invoice, p, len(rows[p.Ordinal]))
		}
		n["cancelled units"] += p.Units
		n["credited"] += p.Amount()
		if p.Goodwill() {
			n["goodwill units"] += p.Units
			n["goodwill credited"] += p.Amount()
			continue
		}
		n["pieces of orders"]++
		n["units returned"] += p.Units
		n["returns credited"] += p.Amount()
		left[p.Order] -= p.Units
		if !retail.IsCharge(p.SKU) {
			n["goods returned"] += p.Units
		}
	}
	n["cancellation rows"] += int64(len(rows))
	if c.Customer == "" {
		n["cash cancellation rows"] += int64(len(rows))
	}
	for _, pieces := range rows {
		goodwill := slices.ContainsFunc(pieces, retail.Piece.Goodwill)
		switch {
		case !goodwill:
			n["rows matched"]++
		case len(pieces) > 1:
			n["rows matched in part"]++
		default:
			n["rows not matched"]++
		}
		if len(pieces) > 1 && !goodwill {
			n["rows of several lines"]++
		}
	}
}

// statusFacts looks at orders again when all pieces are known: how much of them
// is left, and whether pieces agree with the lines they name.
func statusFacts(t *testing.T, n map[string]int64, plan *retail.Plan, left map[string]int64) {
	orders := map[string]*retail.Order{}
	for _, s := range plan.Steps {
		switch s := s.(type) {
		case *retail.Order:
			orders[s.Invoice] = s
			units := int64(0)
			for _, l := range s.Lines {
				units += l.Quantity
			}
			switch left[s.Invoice] {
			case units:
			case 0:
				n["orders cancelled"]++
			default:
				n["orders cancelled in part"]++
			}
		case *retail.Cancellation:
			for _, p := range s.Pieces {
				if p.Goodwill() {
					continue
				}
				o := orders[p.Order]
				if o == nil || o.Customer != s.Customer || o.Lines[p.Line-1].SKU != p.SKU {
					t.Fatalf("%s: piece %+v does not fit order %+v", s.Invoice, p, o)
				}
				l := &o.Lines[p.Line-1]
				if l.Quantity -= p.Units; l.Quantity < 0 {
					t.Errorf("%s: piece %+v returns %d units more than the line holds", s.Invoice, p, -l.Quantity)
				}
				if l.Price != p.Price {
					n["pieces at another price"]++
				}
				if o.Country != s.Country {
					n["pieces in another country"]++
				}
			}
		}
	}
}

func generate(t testing.TB, seed uint64, count int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := retail.Generate(&b, seed, count); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
