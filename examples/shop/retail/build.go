package retail

import (
	"fmt"
	"slices"
)

// plan turns the gathered rows into steps.
func (t *table) plan(file string) (*Plan, error) {
	p := &Plan{Rows: len(t.rows), Catalogue: t.catalogue(), Steps: make([]Step, 0, len(t.invoices))}
	returns := newReturns()
	groups := t.groups()
	for i := range t.invoices {
		if t.invoices[i].kind() == kindCancellation {
			for _, r := range groups[i] {
				returns.expect(t.invoices[i].Customer, t.skus.list[t.rows[r].sku])
			}
		}
	}
	for i := range t.invoices {
		step, err := t.step(file, &t.invoices[i], groups[i], returns)
		if err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, step)
	}
	return p, nil
}

func (t *table) step(file string, v *invoice, group []int32, returns *returns) (Step, error) {
	switch v.kind() {
	case kindBilling:
		return &BillingAdjustment{Header: v.Header, Lines: t.lines(group)}, nil
	case kindAdjustment:
		return &Adjustment{Header: v.Header, Changes: t.changes(group)}, nil
	case kindCancellation:
		return &Cancellation{Header: v.Header, Pieces: t.pieces(v.Customer, group, returns)}, nil
	}
	order := &Order{Header: v.Header, Lines: t.lines(group)}
	for i, line := range order.Lines {
		if line.Quantity < 0 {
			bad := fault{columns[colQuantity], "above zero in an order (an invoice with a customer or a price)", fmt.Sprint(line.Quantity)}
			return nil, bad.at(file, int(t.rows[group[i]].row))
		}
	}
	returns.sold(order)
	return order, nil
}

// groups returns, for each invoice, its rows in the order of the file.
func (t *table) groups() [][]int32 {
	groups := make([][]int32, len(t.invoices))
	all := make([]int32, len(t.rows))
	for i := range t.invoices {
		n := t.invoices[i].rows
		groups[i], all = all[:0:n], all[n:]
	}
	for r := range t.rows {
		i := t.rows[r].invoice
		groups[i] = append(groups[i], int32(r))
	}
	return groups
}

func (t *table) lines(group []int32) []Line {
	lines := make([]Line, len(group))
	for i := range group {
		lines[i] = t.line(group, i)
	}
	return lines
}

func (t *table) line(group []int32, i int) Line {
	r := &t.rows[group[i]]
	return Line{
		Ordinal: i + 1, SKU: t.skus.list[r.sku], Description: t.texts.list[r.text],
		Quantity: int64(r.quantity), Price: r.price,
	}
}

func (t *table) changes(group []int32) []Change {
	changes := make([]Change, len(group))
	for i := range group {
		line := t.line(group, i)
		changes[i] = Change{
			Ordinal: line.Ordinal, SKU: line.SKU, Quantity: line.Quantity,
			Reason: line.Description, Charge: IsCharge(line.SKU),
		}
	}
	return changes
}

func (t *table) pieces(customer string, group []int32, returns *returns) []Piece {
	pieces := make([]Piece, 0, len(group))
	for i := range group {
		line := t.line(group, i)
		pieces = returns.take(pieces, customer, line)
	}
	return pieces
}

// catalogue lists the articles. An article has few descriptions, so looking
// through them costs less than a set of each.
func (t *table) catalogue() []Article {
	articles := make([]Article, len(t.skus.list))
	for i, sku := range t.skus.list {
		articles[i] = Article{SKU: sku, Charge: IsCharge(sku)}
	}
	for i := range t.rows {
		a := &articles[t.rows[i].sku]
		if d := t.texts.list[t.rows[i].text]; d != "" && !slices.Contains(a.Descriptions, d) {
			a.Descriptions = append(a.Descriptions, d)
		}
	}
	return articles
}
