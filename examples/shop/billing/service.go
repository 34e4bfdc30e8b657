package billing

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/service"
)

//go:embed schema.sql
var schema string

// Types are the service's events and their names in the log.
var Types = service.NewTypes[Event](
	service.TypeOf[Issued]("InvoiceIssued"),
	service.TypeOf[Captured]("PaymentCaptured"),
	service.TypeOf[Credited]("CreditNoteIssued"),
	service.TypeOf[GoodwillGranted]("GoodwillGranted"),
	service.TypeOf[BalanceAdjusted]("BalanceAdjusted"),
)

// Service takes commands and answers queries. It is safe for concurrent use.
type Service struct {
	log      leat.Log
	db       *database.Model
	invoices *service.Aggregate[State, Event]
}

// Open opens the service with its database in a file, which is created when it
// does not exist, or at a PostgreSQL server when name is a URL.
func Open(ctx context.Context, log leat.Log, name string) (*Service, error) {
	db, err := database.OpenModel(ctx, name, schema+trace.Schema)
	if err != nil {
		return nil, fmt.Errorf("open service billing: %w", err)
	}
	return &Service{log: log, db: db, invoices: newAggregate()}, nil
}

func newAggregate() *service.Aggregate[State, Event] {
	return &service.Aggregate[State, Event]{Category: "invoice", Source: "billing", Types: Types, Evolve: evolve}
}

// Forwarder hands all that happens to papers on to somebody else.
func (s *Service) Forwarder(to service.Destination) service.Runner {
	return service.Forwarder{
		Name: "billing/forwarder", Filter: leat.Filter{Categories: []string{s.invoices.Category}}, To: to, Checkpoints: s.db.Store,
	}
}

// Store keeps how far the service's applications are.
func (s *Service) Store() service.CheckpointStore { return s.db.Store }

// Close closes the database.
func (s *Service) Close() error { return s.db.Close() }

// GrantGoodwill credits units that are on no order; Amount is computed. A note
// counts once: to grant it again changes nothing. A field out of bounds is a
// [*leat.InvalidError], a number that is in use for something else ErrIssued.
func (s *Service) GrantGoodwill(ctx context.Context, g GoodwillGranted, opts ...service.Option) error {
	if err := g.check(); err != nil {
		return fmt.Errorf("grant goodwill %q: %w", g.Note, err)
	}
	return s.do(ctx, g.Note, "goodwill", grantGoodwill(g), opts...)
}

// AdjustBalance corrects what is owed; Amount is computed. A number counts once:
// to adjust by it again changes nothing. A field out of bounds is a
// [*leat.InvalidError], a number that is in use for something else ErrIssued.
func (s *Service) AdjustBalance(ctx context.Context, a BalanceAdjusted, opts ...service.Option) error {
	if err := a.check(); err != nil {
		return fmt.Errorf("adjust the balance by %q: %w", a.Number, err)
	}
	return s.do(ctx, a.Number, "adjust", adjustBalance(a), opts...)
}

// do carries out a command on a paper, whose ID is made of number and step
// unless the options give another.
func (s *Service) do(ctx context.Context, number, step string, decide func(State) ([]Event, error), opts ...service.Option) error {
	opts = append([]service.Option{service.CommandID(number + "/" + step)}, opts...)
	_, err := s.invoices.Do(ctx, s.log, number, decide, opts...)
	return err
}
