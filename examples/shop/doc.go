// Command shop trades the orders of a wholesaler on Leat, in one process: three
// services, orders, inventory and billing, none of which imports another, each
// with a database of its own, meet only through the events of one log.
//
// It drives an order file (or a made-up one) through the services, waits until
// every application has caught up, archives the log, and then judges itself: it
// reads the file again, computes by package check what must have come out, and
// compares that with what the services' own databases say.
//
//	main.go      flags, signals, exit codes
//	run.go       the phases of a run
//	input.go     the order file, and what a data directory was begun with
//	shop.go      the log, the archive, the services and the app that runs them
//	driver.go    the steps of the file as commands
//	audit.go     what the log must never hold
//	actual.go    what the services say
//	progress.go, report.go    what a person sees
package main
