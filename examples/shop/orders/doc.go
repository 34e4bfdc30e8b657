// Package orders is the shop's service for orders: it takes them, confirms them
// when their goods are reserved and their invoice is issued, and takes units
// back, line by line until an order is cancelled.
//
// The history of an order is the stream order-NUMBER. What it still waits for
// until it can be confirmed is the business of a process (fulfilment.go), which
// what inventory and billing say has happened there feeds; its history is the
// stream fulfilment-NUMBER. What the service tells (queries.go) comes from its
// own SQLite database, which its projections fill from the log (projections.go).
// The services share no code and no database; they know each other's events by
// their declared names, and of those only the fields they need.
package orders
