package orders

import (
	"context"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/trace"
	"github.com/leathq/leat/service"
)

// confirming is how many orders are moved on at once. Appends that wait for the
// disk together share one sync.
const confirming = 64

// patience is how long an order may take before it counts as late.
const patience = 10 * time.Minute

// What the service needs of the events of inventory and billing.
type (
	foreign interface{ foreignEvent() }

	skuRegistered struct {
		SKU  string `json:"sku"`
		Kind string `json:"kind"`
	}
	stockReserved struct {
		SKU   string `json:"sku"`
		Order string `json:"order"`
	}
	invoiceIssued struct {
		Invoice string `json:"invoice"` // the order's number
	}
)

func (skuRegistered) foreignEvent() {}
func (stockReserved) foreignEvent() {}
func (invoiceIssued) foreignEvent() {}
func (Placed) foreignEvent()        {}

var fulfilmentTypes = service.NewTypes[foreign](
	service.TypeOf[Placed]("OrderPlaced"),
	service.TypeOf[stockReserved]("StockReserved"),
	service.TypeOf[invoiceIssued]("InvoiceIssued"),
)

// What happens to the fulfilment of an order, in the stream fulfilment-NUMBER.
type (
	fulfilmentEvent interface{ fulfilmentEvent() }

	fulfilmentBegun struct {
		Goods       int       `json:"goods"` // SKUs that have to be reserved
		Placed      time.Time `json:"placed"`
		Correlation string    `json:"correlation"`
	}
	goodsReserved struct {
		SKU string `json:"sku"`
	}
	invoiced  struct{}
	fulfilled struct{}
	late      struct{}
)

func (fulfilmentBegun) fulfilmentEvent() {}
func (goodsReserved) fulfilmentEvent()   {}
func (invoiced) fulfilmentEvent()        {}
func (fulfilled) fulfilmentEvent()       {}
func (late) fulfilmentEvent()            {}

// confirmOrder is the command to confirm an order, at the time it was placed.
type confirmOrder struct {
	Order       string    `json:"order"`
	Placed      time.Time `json:"placed"`
	Correlation string    `json:"correlation"`
}

// fulfilment is what an order still waits for. The events of the services come
// in no particular order, so any of them may begin it.
type fulfilment struct {
	Begun, Invoiced, Done bool
	Goods, Reserved       int
	Placed                time.Time
	Correlation           string
}

func evolveFulfilment(f fulfilment, e fulfilmentEvent) fulfilment {
	switch e := e.(type) {
	case fulfilmentBegun:
		f.Begun, f.Goods, f.Placed, f.Correlation = true, e.Goods, e.Placed, e.Correlation
	case goodsReserved:
		f.Reserved++
	case invoiced:
		f.Invoiced = true
	case fulfilled:
		f.Done = true
	}
	return f
}

// fulfilment returns the process that has an order confirmed when all its goods
// are reserved and its invoice is issued.
func (s *Service) fulfilment() *service.Process[fulfilment, fulfilmentEvent, foreign] {
	return &service.Process[fulfilment, fulfilmentEvent, foreign]{
		Name: "orders/fulfil", Category: "fulfilment", Source: "orders", Parallel: confirming, Store: s.model,
		Types: service.NewTypes[fulfilmentEvent](
			service.TypeOf[fulfilmentBegun]("FulfilmentBegun"),
			service.TypeOf[goodsReserved]("GoodsReserved"),
			service.TypeOf[invoiced]("OrderInvoiced"),
			service.TypeOf[fulfilled]("OrderFulfilled"),
			service.TypeOf[late]("OrderLate"),
		),
		Evolve: evolveFulfilment,
		Inputs: fulfilmentTypes,
		Route:  orderOf,
		React:  fulfil,
		Fired: func(d *service.Decision[fulfilment, fulfilmentEvent], _ string, _ time.Time) error {
			d.Record(late{})
			return nil
		},
		Commands: []service.Command{service.CommandOf("ConfirmOrder", s.confirm)},
	}
}

func orderOf(e foreign, _ leat.Recorded) string {
	switch e := e.(type) {
	case Placed:
		return e.Order
	case stockReserved:
		return e.Order
	case invoiceIssued:
		return e.Invoice
	}
	return ""
}

func fulfil(d *service.Decision[fulfilment, fulfilmentEvent], e foreign, r leat.Recorded) error {
	switch e := e.(type) {
	case Placed:
		d.Record(fulfilmentBegun{Goods: e.goods(), Placed: r.Time, Correlation: trace.Correlation(r)})
		d.SetTimer("late", r.At.Add(patience))
	case stockReserved:
		d.Record(goodsReserved{SKU: e.SKU})
	case invoiceIssued:
		d.Record(invoiced{})
	}
	f := d.State()
	if f.Begun && f.Invoiced && f.Reserved == f.Goods && !f.Done {
		d.Record(fulfilled{})
		d.CancelTimer("late")
		d.Do(confirmOrder{Order: d.ID(), Placed: f.Placed, Correlation: f.Correlation})
	}
	return nil
}

// confirm carries out the command. It may do so again, which changes nothing.
func (s *Service) confirm(ctx context.Context, c confirmOrder, r leat.Recorded) error {
	_, err := s.orders.Do(ctx, s.log, c.Order, confirm(c.Order),
		service.CausedBy(r, "confirm"), service.At(c.Placed), service.WithMeta(leat.MetaCorrelation, c.Correlation))
	return err
}

// goods counts the different SKUs of an order that inventory has to reserve.
func (p Placed) goods() int {
	seen := make(map[string]bool, len(p.Lines))
	for _, l := range p.Lines {
		if !l.Charge {
			seen[l.SKU] = true
		}
	}
	return len(seen)
}
