// Package inventory is the shop's service for what lies on the shelves: it
// keeps the catalogue, reserves the goods of orders, replenishes itself, takes
// back what is returned, and corrects its stock to what people count.
//
// The catalogue is plain state, rows of the service's own SQLite database: what
// is entered there the others hear of through an outbox (catalogue.go), since an
// article's events begin with that.
//
// The history of an article is the stream sku-CODE. Orders are answered by a
// reactor that reads the orders service's events; low stock is answered by
// another that reads inventory's own (reactors.go). What the service tells
// (queries.go) comes from that database, too (projection.go).
//
// An order that the stock does not suffice for waits (Short), first come, first
// served, until replenishment has brought what is missing. Stock never falls
// below zero: what is to be taken is bought before.
package inventory
