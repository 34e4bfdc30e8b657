// Command shop trades the orders of a wholesaler on Leat: three services, orders,
// inventory and billing, none of which imports another, each with a database of
// its own, meet only through the events of one log. They share nothing else.
//
// # Processes
//
// The main process starts the others, on ports of this machine that are free,
// starts again what dies, and drains them when it ends:
//
//	store                       the log, over gRPC and HTTP
//	archive                     copies the log to Parquet
//	orders-1, orders-2          two workers of each service: they take commands,
//	inventory-1, inventory-2    answer queries, and share the shards that their
//	billing-1, billing-2        applications read through leases
//	gateway                     checks keys, limits rates, finds a live worker
//	accountant                  somebody else, to whom billing forwards its events by webhook
//
// Then it drives an order file (or a made-up one) through the gateway's HTTP API,
// waits until every application has caught up, has the log archived, and judges:
// it reads the file again, computes by package check what must have come out,
// audits the log, and compares all of it with what the services say. With --chaos
// it kills and pauses processes meanwhile.
//
// Commands may be given again, by whoever does not know whether they were
// carried out: each has a name (see web.KeyHeader), from which its events get
// their IDs, and these are recorded once. So the driver repeats what was not answered, and the gateway asks another
// worker.
//
// # Where to find what
//
//	main.go      flags, signals, exit codes
//	role*.go     what the other processes do
//	run.go       the phases of a run
//	input.go     the order file, and what a data directory was begun with
//	shop.go      the processes, how they are started and found
//	api.go       requests that are repeated until they are answered
//	driver.go    the steps of the file as commands
//	applied.go   how far the applications are
//	chaos.go     kills and pauses
//	audit.go     what the log must never hold
//	actual.go    what the services say
//	progress.go, report.go    what a person sees
package main
