package retail

import "time"

// A Plan is an order file as commands.
type Plan struct {
	Rows      int       // data rows in the file
	Catalogue []Article // every StockCode, in order of first appearance
	Steps     []Step    // in order of first appearance of their invoices
}

// An Article is a StockCode of the file.
type Article struct {
	SKU          string
	Descriptions []string // those that are not empty, each once, in order of first appearance; may be none
	Charge       bool     // postage, fees, manual entries and the like: moves no stock
}

// IsCharge reports whether a StockCode stands for a charge rather than goods.
func IsCharge(sku string) bool {
	switch sku {
	case "POST", "DOT", "C2", "M", "m", "D", "S", "B", "CRUK", "AMAZONFEE", "BANK CHARGES":
		return true
	}
	return false
}

// A Step is all that one invoice of the file tells the shop to do: an *Order,
// *Adjustment, *BillingAdjustment or *Cancellation. Steps with one Key must be
// driven one after the other, in the order of the Plan; steps with different
// keys may be driven at once.
type Step interface {
	Head() *Header
	Key() string
}

// Header is what every Step has.
type Header struct {
	Invoice  string    // "536365", "A563185", "C536379"
	Customer string    // "17850"; empty when it is not known (a cash sale)
	Country  string    // "United Kingdom"
	Time     time.Time // of its first row, in UTC
	Row      int       // where its first row stands in the file, see RowError.Row
}

// Head returns h.
func (h *Header) Head() *Header { return h }

// Key returns what the step is serialised on. That is its customer, because a
// cancellation needs the customer's orders to be placed. A step without a
// customer depends on no other, so its key is its own invoice.
func (h *Header) Key() string {
	if h.Customer == "" {
		return "invoice " + h.Invoice
	}
	return "customer " + h.Customer
}

// Line is a row of an invoice.
type Line struct {
	Ordinal     int // 1-based place among the invoice's rows
	SKU         string
	Description string // as the file has it; may be empty
	Quantity    int64  // units
	Price       int64  // tenths of a penny a unit
}

// Amount returns the line's value in tenths of a penny.
func (l Line) Amount() int64 { return l.Quantity * l.Price }

// An Order is a sale. Every line has a Quantity above zero and a Price of zero
// or more; all prices of an order with a customer may be zero.
type Order struct {
	Header
	Lines []Line
}

// An Adjustment is a correction of the stock; it never has a customer.
type Adjustment struct {
	Header
	Changes []Change
}

// Change is a row of an Adjustment.
type Change struct {
	Ordinal  int
	SKU      string
	Quantity int64  // units found (above zero) or lost (below)
	Reason   string // as the file has it: "damages", "found", often empty
	Charge   bool   // the SKU is a charge: record it, move no stock
}

// A BillingAdjustment corrects what is owed. Its lines are neither gross nor
// credit; a Price may be below zero.
type BillingAdjustment struct {
	Header
	Lines []Line
}

// A Cancellation returns units of earlier orders and credits them.
type Cancellation struct {
	Header
	Pieces []Piece // by Ordinal, then Number
}

// A Piece is the part of a cancellation's row that concerns one order line, or
// that concerns none and is goodwill. Header.Invoice, Ordinal and Number
// identify it for good.
type Piece struct {
	Ordinal     int // of the cancellation's row in its invoice
	Number      int // 1-based, within the row
	SKU         string
	Description string
	Units       int64  // credited, above zero
	Price       int64  // tenths of a penny a unit, as the cancellation says
	Order       string // invoice of the order the units come from; empty: goodwill
	Line        int    // ordinal in Order; 0: goodwill
}

// Goodwill reports whether the piece is a credit without a return.
func (p Piece) Goodwill() bool { return p.Order == "" }

// Amount returns the piece's credit in tenths of a penny.
func (p Piece) Amount() int64 { return p.Units * p.Price }
