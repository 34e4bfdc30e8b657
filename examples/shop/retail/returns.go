package retail

// returns finds the order lines that cancelled units come from: for each
// customer and StockCode a stack of lines with units left, the newest on top.
// It keeps only those pairs that a cancellation names, few of all.
type returns struct {
	open map[bought][]openLine
}

type bought struct{ customer, sku string }

type openLine struct {
	order string
	line  int
	left  int64 // units, above zero
}

func newReturns() *returns { return &returns{open: map[bought][]openLine{}} }

// expect says that a cancellation will ask for the pair. A cash customer is
// nobody in particular, so nothing is found for one.
func (r *returns) expect(customer, sku string) {
	if customer != "" {
		r.open[bought{customer, sku}] = nil
	}
}

func (r *returns) sold(o *Order) {
	for _, line := range o.Lines {
		key := bought{o.Customer, line.SKU}
		if stack, expected := r.open[key]; expected {
			r.open[key] = append(stack, openLine{o.Invoice, line.Ordinal, line.Quantity})
		}
	}
}

// take appends the pieces of a cancellation's row, whose Quantity is below
// zero.
func (r *returns) take(pieces []Piece, customer string, row Line) []Piece {
	key := bought{customer, row.SKU}
	stack := r.open[key]
	piece := Piece{Ordinal: row.Ordinal, SKU: row.SKU, Description: row.Description, Price: row.Price}
	wanted := -row.Quantity
	for wanted > 0 && len(stack) > 0 {
		top := &stack[len(stack)-1]
		piece.Number++
		piece.Units = min(wanted, top.left)
		piece.Order, piece.Line = top.order, top.line
		pieces = append(pieces, piece)
		wanted -= piece.Units
		if top.left -= piece.Units; top.left == 0 {
			stack = stack[:len(stack)-1]
		}
	}
	if customer != "" {
		r.open[key] = stack
	}
	if wanted == 0 {
		return pieces
	}
	piece.Number++
	piece.Units, piece.Order, piece.Line = wanted, "", 0
	return append(pieces, piece)
}
