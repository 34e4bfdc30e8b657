package guides

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

type Event interface{ event() }

// Placed is the newest form. The one before had no currency, the one before that
// wrote amounts in pounds.
type Placed struct {
	Amount   int    `json:"amount"` // in the smallest unit of the currency
	Currency string `json:"currency"`
	Note     string `json:"note,omitempty"` // since 2026: absent in older events
}

type placedV1 struct {
	Pence int `json:"pence"`
}

type placedV0 struct {
	Pounds int `json:"pounds"`
}

// Sent was called OrderShipped until it meant mails, too.
type Sent struct {
	Carrier string `json:"carrier"`
}

func (Placed) event() {}
func (Sent) event()   {}

var types = service.NewTypes[Event](
	service.TypeOf[Placed]("order.placed.v2",
		service.Upcast("order.placed.v1", func(o placedV1) Placed { return Placed{Amount: o.Pence, Currency: "GBP"} },
			service.Upcast("order.placed.v0", func(o placedV0) placedV1 { return placedV1{Pence: 100 * o.Pounds} }))),
	service.TypeOf[Sent]("order.sent",
		service.Upcast("OrderShipped", func(s Sent) Sent { return s })),
)

type Order struct {
	Amount   int
	Currency string
	Sent     bool
}

var orders = service.Aggregate[Order, Event]{
	Category: "order", Types: types,
	Evolve: func(o Order, e Event) Order {
		switch e := e.(type) {
		case Placed:
			o.Amount, o.Currency = e.Amount, e.Currency
		case Sent:
			o.Sent = true
		}
		return o
	},
}

// What an old version wrote is part of the contract, so it is part of the tests.
func TestOldEvents(t *testing.T) {
	for typ, data := range map[string]string{
		"order.placed.v0": `{"pounds":3}`,
		"order.placed.v1": `{"pence":300}`,
		"order.placed.v2": `{"amount":300,"currency":"GBP"}`,
	} {
		servicetest.For(t, &orders).
			GivenRecorded(typ, data).
			GivenRecorded("OrderShipped", `{"carrier":"Royal Mail"}`).
			When(func(o Order) ([]Event, error) {
				if want := (Order{300, "GBP", true}); o != want {
					t.Errorf("after %s the order is %+v, want %+v", typ, o, want)
				}
				return nil, nil
			}).
			ThenNothing()
	}
}

// counted counts orders. Its filter names the types it knows, so an event of
// another type, which a newer version may write, does not concern it.
func counted(into service.ReadModel[*servicetest.Tx]) service.Projection[*servicetest.Tx] {
	return service.Projection[*servicetest.Tx]{
		Name: "counted/v1", Into: into,
		Filter: leat.Filter{Categories: []string{"order"}, Types: types.Names()},
		Apply: service.Apply(types, func(_ context.Context, tx *servicetest.Tx, e Event, r leat.Recorded) error {
			if _, placed := e.(Placed); placed {
				tx.Set(r.Stream, "placed")
			}
			return nil
		}),
	}
}

func TestUnknownTypes(t *testing.T) {
	unknown := leat.Event{Stream: "order-1", Type: "order.gift-wrapped", Data: []byte("{}")}
	servicetest.ForProjection(t, func(testing.TB, leat.Log) (service.Projection[*servicetest.Tx], func() map[string]string) {
		model := servicetest.NewMemory()
		return counted(model), model.Data
	}).
		Given(unknown).
		Given(servicetest.Events[Event](t, types, "order-1", Placed{Amount: 300, Currency: "GBP"})...).
		Then(map[string]string{"order-1": "placed"})

	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	unknown.Source = "gifts"
	if _, err := log.Append(t.Context(), []leat.Event{unknown}); err != nil {
		t.Fatal(err)
	}
	if _, err := orders.Load(t.Context(), log, "1"); !errors.Is(err, service.ErrUnknownType) {
		t.Errorf("an aggregate with an event that it does not know: %v, want ErrUnknownType", err)
	}
}

func Example_namesOfTypes() {
	fmt.Println(types.Names())
	// Output: [order.placed.v2 order.placed.v1 order.placed.v0 order.sent OrderShipped]
}
