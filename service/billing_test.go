package service_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// The process of the tests: it has an order's price charged, and waits for the
// payment until it does not any more.
type (
	billInput interface{ billInput() }

	orderPlaced struct {
		Order string `json:"order"`
	}
	orderPaid struct {
		Order string `json:"order"`
	}
	orderNoted struct {
		Order string `json:"order"`
	}

	billEvent interface{ billEvent() }

	billBegun   struct{}
	billSettled struct{}
	billLapsed  struct {
		Reason string `json:"reason"`
	}

	chargeOrder struct {
		Order string `json:"order"`
	}
	shipOrder struct {
		Order string `json:"order"`
	}

	bill struct {
		Begun, Settled bool
		Lapsed         string
	}
)

func (orderPlaced) billInput() {}
func (orderPaid) billInput()   {}
func (orderNoted) billInput()  {}
func (billBegun) billEvent()   {}
func (billSettled) billEvent() {}
func (billLapsed) billEvent()  {}

var (
	billInputs = service.NewTypes[billInput](
		service.TypeOf[orderPlaced]("OrderPlaced"), service.TypeOf[orderPaid]("OrderPaid"), service.TypeOf[orderNoted]("OrderNoted"),
	)
	billTypes = service.NewTypes[billEvent](
		service.TypeOf[billBegun]("BillBegun"), service.TypeOf[billSettled]("BillSettled"), service.TypeOf[billLapsed]("BillLapsed"),
	)
)

const paymentTime = 10 * time.Minute

type billing = service.Process[bill, billEvent, billInput]

type billDecision = service.Decision[bill, billEvent]

// newBilling returns the process, with a function that carries out its commands.
func newBilling(store service.ProcessStore, carryOut func(ctx context.Context, command string, r leat.Recorded) error) *billing {
	return &billing{
		Name: "billing", Category: "bill", Types: billTypes, Inputs: billInputs, Store: store,
		Evolve: func(s bill, e billEvent) bill {
			switch e := e.(type) {
			case billBegun:
				s.Begun = true
			case billSettled:
				s.Settled = true
			case billLapsed:
				s.Lapsed = e.Reason
			}
			return s
		},
		Route: func(e billInput, _ leat.Recorded) string {
			switch e := e.(type) {
			case orderPlaced:
				return e.Order
			case orderPaid:
				return e.Order
			case orderNoted:
				return e.Order
			}
			return ""
		},
		React: func(d *billDecision, e billInput, r leat.Recorded) error {
			switch e.(type) {
			case orderPlaced:
				d.Record(billBegun{})
				d.Do(chargeOrder{d.ID()})
				d.SetTimer("payment", r.At.Add(paymentTime))
			case orderPaid:
				if d.State().Begun && !d.State().Settled {
					d.Record(billSettled{})
					d.CancelTimer("payment")
					d.Do(shipOrder{d.ID()})
				}
			}
			return nil
		},
		Fired: func(d *billDecision, timer string, _ time.Time) error {
			d.Record(billLapsed{timer})
			return nil
		},
		Commands: []service.Command{
			service.CommandOf("ChargeOrder", func(ctx context.Context, c chargeOrder, r leat.Recorded) error {
				return carryOut(ctx, "charge "+c.Order, r)
			}),
			service.CommandOf("ShipOrder", func(ctx context.Context, c shipOrder, r leat.Recorded) error {
				return carryOut(ctx, "ship "+c.Order, r)
			}),
		},
	}
}

// sent notes what was carried out, and with which key.
type sent struct {
	mu   sync.Mutex
	all  []string
	keys map[string]string
	fail func(command string) error // when set
}

func (s *sent) carryOut(_ context.Context, command string, r leat.Recorded) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[string]string)
	}
	key := service.CommandKey(r, "send")
	if before, known := s.keys[command]; known && before != key {
		return service.Permanent(fmt.Errorf("%s has the key %s, then %s", command, before, key))
	}
	s.keys[command] = key
	s.all = append(s.all, command)
	if s.fail != nil {
		return s.fail(command)
	}
	return nil
}

func (s *sent) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.all, ", ")
}

func (s *sent) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// feed records an event that feeds the process.
func feed(t testing.TB, log leat.Log, stream string, e billInput) leat.Receipt {
	t.Helper()
	typ, data, err := billInputs.Encode(e)
	ok(t, err)
	r, err := log.Append(context.WithoutCancel(t.Context()), []leat.Event{{Stream: stream, Type: typ, Source: "test", Data: data}})
	ok(t, err)
	return r
}

// types writes the types of a stream's events.
func types(t testing.TB, log leat.Log, name string) string {
	t.Helper()
	var all []string
	for _, r := range stream(t, log, name) {
		all = append(all, strings.TrimPrefix(r.Type, "leat."))
	}
	return strings.Join(all, " ")
}

// bubble runs a test with a fake clock, a log and a store.
func bubble(t *testing.T, test func(t *testing.T, log leat.Log, store *servicetest.Memory)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newLog(t, leat.Config{Shards: leat.EvenShards(4)}), servicetest.NewMemory())
	})
}

// shortly is longer than it takes to carry a command out, or to see that a timer
// is due.
const shortly = 5 * time.Second

const (
	begun   = "BillBegun ChargeOrder TimerSet CommandDone"
	settled = begun + " BillSettled TimerCancelled ShipOrder CommandDone"
	lapsed  = begun + " TimerFired BillLapsed"
)
