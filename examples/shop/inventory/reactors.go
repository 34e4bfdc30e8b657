package inventory

import (
	"context"
	"database/sql"
	"errors"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"golang.org/x/sync/errgroup"
)

// How much is under way at once: so many orders, and so many SKUs of each, and
// so many SKUs to replenish. Every SKU is an append of its own, and those that
// wait for the disk together share one sync. Replenishment has to keep up with
// the orders, or ever more of them wait.
const (
	ordersAtOnce      = 16
	skusAtOnce        = 32
	replenishedAtOnce = 128
)

// What the service needs of the events of orders.
type (
	orderEvent interface {
		demand() (order, note string, lines []demanded)
	}

	orderPlaced struct {
		Order string     `json:"order"`
		Lines []demanded `json:"lines"`
	}
	unitsReturned struct {
		Order  string     `json:"order"`
		Note   string     `json:"note"`
		Pieces []demanded `json:"pieces"`
	}
	demanded struct {
		SKU   string `json:"sku"`
		Units int64  `json:"units"`
	}
)

func (o orderPlaced) demand() (order, note string, lines []demanded) { return o.Order, "", o.Lines }
func (u unitsReturned) demand() (order, note string, lines []demanded) {
	return u.Order, u.Note, u.Pieces
}

var orderTypes = service.NewTypes[orderEvent](
	service.TypeOf[orderPlaced]("OrderPlaced"),
	service.TypeOf[unitsReturned]("UnitsReturned"),
)

// Runners returns the service's applications.
func (s *Service) Runners() []service.Runner {
	return []service.Runner{
		service.Reactor{
			Name: "inventory/reservations", Checkpoints: s.model, Parallel: ordersAtOnce,
			Filter: leat.Filter{Types: orderTypes.Names()},
			React:  service.React(orderTypes, s.answerOrder),
		},
		service.Reactor{
			Name: "inventory/replenishment", Checkpoints: s.model, Parallel: replenishedAtOnce,
			Filter: leat.Filter{Types: []string{"StockLow"}},
			React:  service.React(Types, s.answerLow),
		},
		service.Projection[*sql.Tx]{
			Name: "inventory/stock", Into: s.model,
			Filter: leat.Filter{Types: Types.Names()},
			Apply:  service.Apply(Types, applyStock),
		},
		service.Relay{Name: "inventory/outbox", Outbox: s.outbox},
	}
}

// answerOrder reserves what an order wants, or takes back what it gives back,
// with one command for each SKU.
func (s *Service) answerOrder(ctx context.Context, e orderEvent, r leat.Recorded) error {
	order, note, lines := e.demand()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(skusAtOnce)
	for _, d := range bySKU(lines) {
		g.Go(func() error {
			if note == "" {
				return s.do(ctx, d.SKU, reserve(d.SKU, order, d.Units), service.CausedBy(r, "reserve"))
			}
			return s.do(ctx, d.SKU, release(Released{SKU: d.SKU, Order: order, Note: note, Units: d.Units}), service.CausedBy(r, "release"))
		})
	}
	err := g.Wait()
	if errors.Is(err, ErrUnknownSKU) {
		return service.Permanent(err)
	}
	return err
}

// bySKU adds up the units of each SKU.
func bySKU(lines []demanded) []demanded {
	sums := make([]demanded, 0, len(lines))
	at := make(map[string]int, len(lines))
	for _, l := range lines {
		i, ok := at[l.SKU]
		if !ok {
			at[l.SKU] = len(sums)
			sums = append(sums, l)
			continue
		}
		sums[i].Units += l.Units
	}
	return sums
}

// answerLow buys what is missing.
func (s *Service) answerLow(ctx context.Context, e Event, r leat.Recorded) error {
	sku := e.(Low).SKU
	return s.do(ctx, sku, replenish(sku), service.CausedBy(r, "replenish"))
}
