package main

import (
	"context"
	"errors"

	"github.com/leathq/leat"
)

// cacheMiB is what each system that has a cache of its own gets for it. The
// events that are read come to about half.
const cacheMiB = 1024

// A store is one of the systems compared: open, empty, and of use to many
// goroutines at once. An append is durable when it returns.
type store interface {
	// version says what it is, such as "PostgreSQL 15.8".
	version() string

	// append records events of one stream, all or none, if the stream is still
	// where at says, and returns where it is then. It returns errConflict when
	// the stream is elsewhere, and errDuplicate when an event's ID is known. It
	// does not keep the slice.
	append(ctx context.Context, at head, events []leat.Event) (head, error)

	// fill records events of different streams, as fast as the system can, with
	// or without checks. It is how the data of the reads gets there.
	fill(ctx context.Context, events []leat.Recorded) error

	// replay visits all events in the order in which they were recorded.
	replay(ctx context.Context, visit visitor) error

	// load visits the events of a stream in the order of their versions.
	load(ctx context.Context, stream string, visit visitor) error

	close() error
}

// A lender is a store that can replay events without giving them away: they
// are the visitor's until it returns.
type lender interface {
	replayLent(ctx context.Context, visit visitor) error
}

// A visitor gets an event whose memory is its own. Every system tells the
// event as it was submitted, and its version.
type visitor func(*leat.Recorded) error

// A head is where a stream ends: its version, and for systems that check
// something else than versions, what they check.
type head struct {
	version uint64
	place   uint64 // NATS: the sequence of the subject's last message
}

var (
	errConflict  = errors.New("the stream has another version")
	errDuplicate = errors.New("the ID is known")
)

// errMissing is why a system cannot be compared on this machine: it says how to
// install it.
type errMissing struct{ install string }

func (e errMissing) Error() string { return "not installed: " + e.install }

// A system is what can be compared.
type system struct {
	name    string // on the command line
	title   string
	reached string // how the load gets to it
	open    func(ctx context.Context, dir string) (store, error)
}

// systems are in the order in which a run compares them. The ceiling is not
// among them: it keeps nothing.
var systems = []system{
	{"leat", "Leat, embedded", "in process", openLeat},
	{"leat-server", "Leat, served", "gRPC, loopback", openLeatServer},
	{"postgres", "PostgreSQL", "unix socket", openPostgres},
	{"nats", "NATS JetStream", "TCP, loopback", openNATS},
	{"redis", "Redis Streams", "unix socket", openRedis},
	{"sqlite", "SQLite", "in process", openSQLite},
}
