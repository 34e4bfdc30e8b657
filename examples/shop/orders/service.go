package orders

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"sync"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/sqlite"
)

//go:embed schema.sql
var schema string

// Types are the service's events and their names in the log.
var Types = service.NewTypes[Event](
	service.TypeOf[Placed]("OrderPlaced"),
	service.TypeOf[Confirmed]("OrderConfirmed"),
	service.TypeOf[Returned]("UnitsReturned"),
	service.TypeOf[Cancelled]("OrderCancelled"),
)

// Service takes commands and answers queries. It is safe for concurrent use.
type Service struct {
	log    leat.Log
	db     *sql.DB
	model  *sqlite.Model
	orders *service.Aggregate[State, Event]

	// catalogue remembers SKUs that were found in the database, by SKU: whether
	// it is a charge. SKUs never leave the catalogue.
	catalogue sync.Map
}

// Open opens the service with its database in a file, which is created when it
// does not exist.
func Open(ctx context.Context, log leat.Log, path string) (*Service, error) {
	db, err := database.Open(ctx, path, schema+trace.Schema)
	if err != nil {
		return nil, fmt.Errorf("open service orders: %w", err)
	}
	return &Service{log: log, db: db, model: sqlite.ReadModel(db), orders: newAggregate()}, nil
}

func newAggregate() *service.Aggregate[State, Event] {
	return &service.Aggregate[State, Event]{Category: "order", Source: "orders", Types: Types, Evolve: evolve}
}

// Store keeps how far the service's applications are.
func (s *Service) Store() service.CheckpointStore { return s.model }

// Close closes the database.
func (s *Service) Close() error { return s.db.Close() }

// Place takes an order. All its SKUs must be in the catalogue (ErrUnknownSKU),
// which says what is a charge; and its number must be new (ErrPlaced), except
// that to place the same order again changes nothing. A field out of bounds is
// a [*leat.InvalidError].
func (s *Service) Place(ctx context.Context, p Placed, opts ...service.Option) error {
	if err := p.check(); err != nil {
		return fmt.Errorf("place order %q: %w", p.Order, err)
	}
	lines := make([]Line, len(p.Lines))
	for i, l := range p.Lines {
		charge, err := s.isCharge(ctx, l.SKU)
		if err != nil {
			return fmt.Errorf("place order %s: lines[%d].sku: %w", p.Order, i, unknown(err, i, l.SKU))
		}
		l.Charge = charge
		lines[i] = l
	}
	p.Lines = lines
	done, err := s.orders.Do(ctx, s.log, p.Order, place(p), with(opts, p.Order+"/place")...)
	if err == nil && done.Duplicate && !done.State.Placed.equal(p) {
		return fmt.Errorf("place order %s: %w", p.Order, ErrPlaced)
	}
	return err
}

// Return takes units back from lines of an order, in any status, but never more
// than a line still holds: that, like any other field out of bounds, is a
// [*leat.InvalidError]. An order that holds nothing any more is cancelled. A
// note counts once for an order: to return it again changes nothing.
func (s *Service) Return(ctx context.Context, r Returned, opts ...service.Option) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("return units of order %q: %w", r.Order, err)
	}
	_, err := s.orders.Do(ctx, s.log, r.Order, giveBack(r), with(opts, r.Note+"/return")...)
	return err
}

// unknown names the field, if the error is that its SKU is not known.
func unknown(err error, i int, sku string) error {
	if !errors.Is(err, ErrUnknownSKU) {
		return err
	}
	invalid := &leat.InvalidError{Field: fmt.Sprintf("lines[%d].sku", i), Limit: "in the catalogue", Got: fmt.Sprintf("%q", sku)}
	return fmt.Errorf("%w: %w", err, invalid)
}

// isCharge looks a SKU up in the service's own copy of the catalogue.
func (s *Service) isCharge(ctx context.Context, sku string) (bool, error) {
	if charge, ok := s.catalogue.Load(sku); ok {
		return charge.(bool), nil
	}
	var charge bool
	err := s.db.QueryRowContext(ctx, `select charge from catalogue where sku = ?`, sku).Scan(&charge)
	if errors.Is(err, sql.ErrNoRows) {
		return false, ErrUnknownSKU
	}
	if err != nil {
		return false, err
	}
	s.catalogue.Store(sku, charge)
	return charge, nil
}

// with gives a command an ID, unless its options do.
func with(opts []service.Option, id string) []service.Option {
	return append([]service.Option{service.CommandID(id)}, opts...)
}
