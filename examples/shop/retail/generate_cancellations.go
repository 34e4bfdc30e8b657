package retail

import "slices"

// A cancelling picks a sale to cancel, and the lines to credit; nil when it
// finds none that is fit. Their quantities are above zero.
type cancelling func() (*sale, []Line)

// cancellation writes one, each of another kind than the last.
func (g *generator) cancellation() {
	kinds := [...]cancelling{
		g.whole, g.part, g.twoLines, g.tooMany, g.otherPrice, g.otherCountry, g.cash, g.discount,
	}
	g.cancel(kinds[g.cancelled%len(kinds)])
	g.cancelled++
}

// cancel writes a cancellation, one for cash when there is no sale to cancel.
func (g *generator) cancel(pick cancelling) {
	s, lines := pick()
	if s == nil {
		s, lines = g.cash()
	}
	h := g.header("C")
	h.Customer, h.Country = s.Customer, s.Country
	for i := range lines {
		lines[i].Quantity = -lines[i].Quantity
	}
	g.write(h, lines)
}

// whole cancels all of the newest sale.
func (g *generator) whole() (*sale, []Line) {
	s := g.take(func(*sale) bool { return true })
	if s == nil {
		return nil, nil
	}
	return s, slices.Clone(s.Lines)
}

// part cancels some units of some lines of an older sale.
func (g *generator) part() (*sale, []Line) {
	s := g.older()
	if s == nil {
		return nil, nil
	}
	lines := slices.Clone(s.Lines[:g.between(1, int64(min(4, len(s.Lines))))])
	for i := range lines {
		lines[i].Quantity = g.between(1, lines[i].Quantity)
	}
	return s, lines
}

// twoLines cancels two equal lines by one row.
func (g *generator) twoLines() (*sale, []Line) {
	equal := func(s *sale) bool { return len(s.Lines) > 1 && slices.Contains(s.Lines[1:], s.Lines[0]) }
	s := g.take(equal)
	if s == nil {
		return nil, nil
	}
	line := s.Lines[0]
	line.Quantity *= 2
	return s, []Line{line}
}

// tooMany cancels more than was bought.
func (g *generator) tooMany() (*sale, []Line) {
	s := g.older()
	if s == nil {
		return nil, nil
	}
	line := s.Lines[0]
	line.Quantity = 4*line.Quantity + 100
	return s, []Line{line}
}

// otherPrice credits another price than was paid.
func (g *generator) otherPrice() (*sale, []Line) {
	s, lines := g.part()
	for i := range lines {
		lines[i].Price += 10 * g.between(1, 90)
	}
	return s, lines
}

// otherCountry credits a sale in the customer's second country.
func (g *generator) otherCountry() (*sale, []Line) {
	s := g.take(func(s *sale) bool { return s.shopper.second != "" })
	if s == nil {
		return nil, nil
	}
	there := *s
	if there.Country = s.shopper.second; there.Country == s.Country {
		there.Country = s.shopper.country
	}
	return &there, slices.Clone(s.Lines[:1])
}

// cash cancels something that a customer without a number bought.
func (g *generator) cash() (*sale, []Line) {
	return &sale{Order: Order{Header: Header{Country: home}}}, []Line{g.line()}
}

// discount credits what was never bought.
func (g *generator) discount() (*sale, []Line) {
	s := g.older()
	return s, []Line{{SKU: "D", Description: "Discount", Quantity: 1, Price: 10 * g.between(100, 9_000)}}
}

// take removes the newest sale that is fit from those that can be cancelled,
// and returns it; nil when there is none.
func (g *generator) take(fit func(*sale) bool) *sale {
	for i := len(g.sales) - 1; i >= 0; i-- {
		if s := g.sales[i]; fit(s) {
			g.sales = slices.Delete(g.sales, i, i+1)
			return s
		}
	}
	return nil
}

// older takes any sale.
func (g *generator) older() *sale {
	if len(g.sales) == 0 {
		return nil
	}
	chosen := g.sales[g.rng.IntN(len(g.sales))]
	return g.take(func(s *sale) bool { return s == chosen })
}
