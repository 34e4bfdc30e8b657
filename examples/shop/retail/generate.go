package retail

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxGenerated is the most orders that Generate writes.
const MaxGenerated = 500_000

// Generate writes an order file of count orders (1 to MaxGenerated), and of the
// adjustments and cancellations that go with so many, as plain CSV that Read
// reads. The same seed and count give the same bytes on every machine. From 200
// orders on, every trait of the real file occurs.
func Generate(w io.Writer, seed uint64, count int) error {
	if count < 1 || count > MaxGenerated {
		return fmt.Errorf("generate orders: count must be 1 to %d, got %d", MaxGenerated, count)
	}
	g := newGenerator(w, seed, count)
	g.record(columns[:]...)
	for i := range count {
		g.order(i)
		g.aside(i)
	}
	g.out.Flush()
	if err := g.out.Error(); err != nil {
		return fmt.Errorf("generate orders: %w", err)
	}
	return nil
}

// generator makes up a file. What is rare in the real file comes at fixed
// intervals, so that a short file has it too; the rest is drawn. Only integers
// are drawn, since floating point differs between machines.
type generator struct {
	rng      *rand.Rand
	out      *csv.Writer // keeps its first error, which Generate returns
	articles []article   // the most popular first
	shoppers []shopper
	sales    []*sale // to known customers, not cancelled yet, the newest last
	number   int     // of the next invoice
	now      time.Time

	adjusted, cancelled int // how many there were
}

type shopper struct {
	id      string
	country string
	second  string // where a few of them buy as well; empty for most
}

// sale is an order, and who it was for.
type sale struct {
	Order
	shopper shopper // zero for cash
}

func newGenerator(w io.Writer, seed uint64, count int) *generator {
	g := &generator{
		rng: rand.New(rand.NewPCG(seed, uint64(count))), out: csv.NewWriter(w),
		number: 536365, now: time.Date(2024, 12, 2, 8, 26, 0, 0, time.UTC),
	}
	g.articles = g.newArticles(200 + min(count/2, 4000))
	g.shoppers = make([]shopper, 10+count/50*10)
	for i := range g.shoppers {
		g.shoppers[i] = shopper{id: strconv.Itoa(12346 + i), country: home}
		if i%10 == 3 {
			g.shoppers[i].country = abroad[g.rng.IntN(len(abroad))]
		}
		if roams(i) {
			g.shoppers[i].second = abroad[g.rng.IntN(len(abroad))]
		}
	}
	return g
}

func roams(shopper int) bool { return shopper%10 == 4 }

const home = "United Kingdom"

var abroad = []string{"Germany", "France", "EIRE", "Spain", "Netherlands", "Belgium", "Norway", "Hong Kong", "Unspecified"}

// order writes the i-th order.
func (g *generator) order(i int) {
	o := g.newOrder(i)
	half := len(o.Lines) / 2
	switch i % 40 {
	case 17: // other invoices stand between its rows
		g.write(o.Header, o.Lines[:half])
		g.adjustment()
		g.write(o.Header, o.Lines[half:])
	case 29: // keying it in took longer than a minute
		g.write(o.Header, o.Lines[:half])
		late := o.Header
		late.Time = late.Time.Add(time.Minute)
		g.write(late, o.Lines[half:])
	default:
		g.write(o.Header, o.Lines)
	}
	if o.Customer == "" {
		return
	}
	if g.sales = append(g.sales, o); len(g.sales) > 500 {
		g.sales = slices.Delete(g.sales, 0, 100)
	}
}

// aside writes what comes in between orders.
func (g *generator) aside(i int) {
	if i%10 == 5 {
		g.adjustment()
	}
	if i%5 == 2 {
		g.cancellation()
	}
	if entered(i) {
		g.cancel(g.whole)
	}
	if i%700 == 43 {
		amount := 10 * g.between(1_000, 1_200_000)
		g.write(g.header("A"), []Line{{SKU: "B", Description: "Adjust bad debt", Quantity: 1, Price: amount}})
		g.write(g.header("A"), []Line{{SKU: "B", Description: "Adjust bad debt", Quantity: 1, Price: -amount - 10}})
	}
}

// entered says that the i-th order is keyed in wrongly: with an absurd quantity
// and cancelled at once.
func entered(i int) bool { return i%500 == 33 }

func (g *generator) newOrder(i int) *sale {
	o := &sale{Order: Order{Header: g.header("")}}
	free := i%90 == 9
	if cash := i%14 == 3 && !free && !entered(i); !cash {
		s := g.rng.IntN(len(g.shoppers))
		if i%10 == 4 {
			s += 4 - s%10 // one that roams
		}
		o.shopper = g.shoppers[s]
		o.Customer, o.Country = o.shopper.id, o.shopper.country
		if roams(s) && g.rng.IntN(2) == 0 {
			o.Country = o.shopper.second
		}
	}
	for range g.length(i) {
		o.Lines = append(o.Lines, g.line())
	}
	g.specials(o, i)
	for j := range o.Lines {
		if free {
			o.Lines[j].Price = 0
		}
	}
	return o
}

func (g *generator) length(i int) int64 {
	switch {
	case entered(i):
		return 1
	case i%400 == 61:
		return g.between(200, 600)
	}
	return g.between(1, g.between(2, 32))
}

// specials adds the lines that not every order has.
func (g *generator) specials(o *sale, i int) {
	if entered(i) {
		o.Lines[0].Quantity = g.between(20_000, 80_000)
	}
	if i%7 == 1 {
		c := charges[g.rng.IntN(len(charges))]
		o.Lines = append(o.Lines, Line{SKU: c.sku, Description: c.description, Quantity: 1, Price: 10 * g.between(100, 5_000)})
	}
	if i%9 == 4 {
		o.Lines = append(o.Lines, o.Lines[0])
	}
	if i%20 == 6 {
		line := g.line()
		line.Price = 0
		if g.rng.IntN(2) == 0 {
			line.Description = ""
		}
		o.Lines = append(o.Lines, line)
	}
	if i%50 == 8 {
		o.Lines = append(o.Lines, Line{SKU: "PADS", Description: "PADS TO MATCH ALL CUSHIONS", Quantity: 1, Price: 1})
	}
}

func (g *generator) line() Line {
	a := g.article()
	line := Line{SKU: a.sku, Description: a.descriptions[0], Price: a.price, Quantity: g.between(1, 12)}
	if g.rng.IntN(10) == 0 {
		line.Description = a.descriptions[g.rng.IntN(len(a.descriptions))]
	}
	switch g.rng.IntN(20) {
	case 0:
		line.Quantity *= 12
	case 1:
		line.Quantity *= 48
	case 2, 3:
		line.Price = max(10, line.Price*8/10/10*10) // a better price for many
	}
	return line
}

// adjustment writes a correction of the stock.
func (g *generator) adjustment() {
	lost := []string{"damages", "check", "thrown away", "wet, unsaleable", "?"}
	found := []string{"found", "counted again", "amazon", ""}
	line := Line{SKU: g.article().sku, Quantity: -g.between(1, 200)}
	lines := []Line{line}
	switch g.adjusted % 5 {
	case 0:
		lines[0].Description = lost[g.rng.IntN(len(lost))]
	case 1:
		lines[0].Quantity = g.between(1, 120)
		lines[0].Description = found[g.rng.IntN(len(found))]
	case 2:
		lines = append(lines, Line{SKU: g.article().sku, Quantity: -g.between(1, 9)})
	case 3:
		if g.adjusted%2 == 1 {
			lines[0] = Line{SKU: "DOT", Quantity: g.between(1, 900)}
		}
	}
	g.adjusted++
	g.write(g.header(""), lines)
}

// write appends rows of an invoice.
func (g *generator) write(h Header, lines []Line) {
	customer := h.Customer
	if customer != "" {
		customer += ".0"
	}
	for _, l := range lines {
		g.record(h.Invoice, l.SKU, l.Description, strconv.FormatInt(l.Quantity, 10),
			h.Time.Format(timeLayout), formatPrice(l.Price), customer, h.Country)
	}
}

func (g *generator) record(fields ...string) {
	_ = g.out.Write(fields) // the writer keeps the error
}

// header begins an invoice without a customer, some minutes after the last.
func (g *generator) header(letter string) Header {
	g.now = g.now.Add(time.Duration(g.rng.IntN(16)) * time.Minute)
	if g.now.Hour() >= 18 {
		g.now = g.now.Add(14 * time.Hour)
	}
	g.number++
	return Header{Invoice: letter + strconv.Itoa(g.number-1), Country: home, Time: g.now}
}

// between draws from low to high, both included.
func (g *generator) between(low, high int64) int64 { return low + g.rng.Int64N(high-low+1) }

// formatPrice writes pounds as the real file does: "2.55", "2.1", "3.0".
func formatPrice(tenths int64) string {
	sign := ""
	if tenths < 0 {
		sign = "-"
	}
	fraction := strings.TrimRight(fmt.Sprintf("%03d", abs(tenths)%1000), "0")
	if fraction == "" {
		fraction = "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, abs(tenths)/1000, fraction)
}
