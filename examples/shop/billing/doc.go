// Package billing is the shop's service for money: it issues an invoice for
// every order, captures its payment, credits what is returned, and adjusts
// balances.
//
// The history of an invoice is the stream invoice-NUMBER, where NUMBER is that
// of its order; goodwill credits and adjustments have numbers and streams of
// their own. Orders and returns are answered by a reactor that reads the orders
// service's events (reactor.go). What the service tells (queries.go) comes from
// its own SQLite database (projection.go).
//
// Money is an int64 in tenths of a penny, because some prices are that small. A
// sum that does not fit is an error, never a wrong sum.
package billing
