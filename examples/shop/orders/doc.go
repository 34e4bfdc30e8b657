// Package orders is the shop's service for orders: it takes them, confirms them
// when their goods are reserved and their invoice is issued, and takes units
// back, line by line until an order is cancelled.
//
// The history of an order is the stream order-NUMBER. What the service tells
// (queries.go) comes from its own SQLite database, which its projections fill
// from the log (projections.go): with its own events, and with what inventory
// and billing say has happened there. The services share no code and no
// database; they know each other's events by their declared names, and of those
// only the fields they need.
package orders
