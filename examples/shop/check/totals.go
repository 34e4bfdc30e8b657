package check

// Expected is what an order file amounts to.
type Expected struct {
	Rows       int   // data rows in the file
	GrandTotal int64 // Quantity × UnitPrice over all rows

	Orders map[string]Order // by InvoiceNo
	Stock  map[string]Moves // by StockCode; charge codes are there with zeros
	Gross  map[string]int64 // by country, value of the orders
	Credit map[string]int64 // by country, value of the cancellations, goodwill included

	Adjustments        Adjustments
	Returns            Credits // pieces of cancellations that return units of an order line
	Goodwill           Credits // pieces that do not
	BillingAdjustments Credits // rows of invoices A…; Units is the sum of their quantities
}

// Order is what an order amounts to after all its cancellations.
type Order struct {
	Country  string
	Lines    int64
	Units    int64  // ordered
	Returned int64  // units of its lines that were cancelled
	Gross    int64  // value of the lines
	Credited int64  // value of the returned units, at the cancellations' prices
	Status   Status // in an Actual: as the orders service says
}

// Status is where an order ends.
type Status string

// What an order can end as. Anything else, such as an order that still waits
// for stock, is wrong when all has been handled.
const (
	Confirmed       Status = "confirmed"        // nothing of it was returned
	PartlyCancelled Status = "partly cancelled" // some units were
	Cancelled       Status = "cancelled"        // every unit was
)

// Moves is what moves an article's stock, in units.
type Moves struct {
	Sold     int64
	Returned int64
	Adjusted int64 // net, may be below zero
}

// Adjustments counts stock adjustments, those on charge codes included.
type Adjustments struct {
	Invoices     int64
	Rows         int64
	RowsLost     int64 // below zero
	UnitsLost    int64 // their sum, below zero
	RowsFound    int64 // above zero
	UnitsFound   int64
	RowsCharged  int64 // on charge codes: recorded, no stock moved
	UnitsCharged int64
}

// Credits counts credits or billing adjustments.
type Credits struct {
	Count int64 // pieces, or rows
	Units int64
	Value int64 // tenths of a penny
}

// Actual is what the services say, each part filled from that service's own
// database, and the log's part by reading the log.
type Actual struct {
	Orders    OrdersActual
	Inventory InventoryActual
	Billing   BillingActual
	Log       LogActual
}

// OrdersActual is what the orders service says.
type OrdersActual struct {
	Orders map[string]PlacedOrder // by InvoiceNo
	Gross  map[string]int64       // by country
}

// PlacedOrder is an order as the orders service has it.
type PlacedOrder struct {
	Lines    int64
	Units    int64
	Returned int64
	Gross    int64
	Status   Status // any other than the constants means that it is not finished
}

// InventoryActual is what the inventory service says.
type InventoryActual struct {
	Stock       map[string]Stock // by StockCode; charge codes may be left out
	Adjustments Adjustments
	Waiting     int64 // units of orders that still wait for stock
}

// Stock is an article as the inventory service has it, in units.
type Stock struct {
	Received int64
	Moves
	OnHand int64
	Lowest int64 // the least that OnHand ever was
}

// BillingActual is what the billing service says.
type BillingActual struct {
	Invoices           map[string]Invoice // by the order's InvoiceNo
	Gross              map[string]int64   // by country, of invoices
	Credit             map[string]int64   // by country, of credit notes, goodwill included
	Returns            Credits
	Goodwill           Credits
	BillingAdjustments Credits
	Balance            int64 // invoiced − credited + adjustments
}

// Invoice is an order's invoice as the billing service has it.
type Invoice struct {
	Amount   int64 // tenths of a penny, as issued
	Paid     int64 // captured
	Credited int64 // for returned units of the order, goodwill not included
}

// LogActual is what the log itself says.
type LogActual struct {
	SKURegistered   Occurrences
	OrderPlaced     Occurrences
	InvoiceIssued   Occurrences
	PaymentCaptured Occurrences
}

// Occurrences counts the events of a type.
type Occurrences struct {
	Events int64
	Of     int64 // different orders or articles among them
}

// Result is one check, in words for people.
type Result struct {
	Name     string // "orders: units"
	Expected string // "5,603,531"
	Actual   string // "5,603,530 (536365: 39, expected 40)"
	OK       bool
}
