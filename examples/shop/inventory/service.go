package inventory

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

//go:embed schema.sql
var schema string

// Types are the service's events and their names in the log.
var Types = service.NewTypes[Event](
	service.TypeOf[Registered]("SKURegistered"),
	service.TypeOf[Received]("StockReceived"),
	service.TypeOf[Reserved]("StockReserved"),
	service.TypeOf[Short]("StockShort"),
	service.TypeOf[Low]("StockLow"),
	service.TypeOf[Released]("StockReleased"),
	service.TypeOf[Adjusted]("StockAdjusted"),
)

// Service takes commands and answers queries. It is safe for concurrent use.
type Service struct {
	log    leat.Log
	db     *sql.DB
	model  *sqlite.Model
	outbox *sqlite.Outbox // of the catalogue
	skus   *service.Aggregate[State, Event]
}

// Open opens the service with its database in a file, which is created when it
// does not exist.
func Open(ctx context.Context, log leat.Log, path string) (*Service, error) {
	db, err := database.Open(ctx, path, schema)
	if err != nil {
		return nil, fmt.Errorf("open service inventory: %w", err)
	}
	outbox, err := sqlite.NewOutbox(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("open service inventory: %w", errors.Join(err, db.Close()))
	}
	return &Service{log: log, db: db, model: outbox.Model, outbox: outbox, skus: newAggregate(outbox)}, nil
}

// newAggregate returns the articles. Some sell thousands of times, so that a
// worker that starts begins with snapshots: what it has to read of all articles
// then grows with their number, not with what they have sold.
func newAggregate(snapshots service.SnapshotStore) *service.Aggregate[State, Event] {
	return &service.Aggregate[State, Event]{
		Category: "sku", Source: "inventory", Types: Types, Evolve: evolve,
		Snapshots: service.Snapshots{Store: snapshots, Reducer: "1", Every: 25},
	}
}

// Store keeps how far the service's applications are.
func (s *Service) Store() service.CheckpointStore { return s.model }

// Close closes the database.
func (s *Service) Close() error { return s.db.Close() }

// Adjust corrects the stock of a SKU (ErrUnknownSKU). That of a charge is only
// recorded. A row of a note counts once: to adjust by it again changes nothing.
// A field out of bounds is a [*leat.InvalidError].
func (s *Service) Adjust(ctx context.Context, a Adjusted, opts ...service.Option) error {
	if err := a.check(); err != nil {
		return fmt.Errorf("adjust SKU %q: %w", a.SKU, err)
	}
	return s.do(ctx, a.SKU, adjust(a), with(opts, fmt.Sprintf("%s/%d/adjust", a.Note, a.Row))...)
}

func (s *Service) do(ctx context.Context, sku string, decide func(State) ([]Event, error), opts ...service.Option) error {
	_, err := s.skus.Do(ctx, s.log, sku, decide, opts...)
	return err
}

// with gives a command an ID, unless its options do.
func with(opts []service.Option, id string) []service.Option {
	return append([]service.Option{service.CommandID(id)}, opts...)
}
