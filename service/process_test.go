package service_test

import (
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestProcessRecordsWhatItDecidesAndDoesIt(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		app := start(t, log, p)
		placed := feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		want(t, "stream", types(t, log, "bill-1"), begun)
		want(t, "carried out", s.String(), "charge 1")
		feed(t, log, "payment-7", orderPaid{"1"})
		time.Sleep(2 * paymentTime)
		app.stop()
		want(t, "stream", types(t, log, "bill-1"), settled)
		want(t, "carried out", s.String(), "charge 1, ship 1")

		events := stream(t, log, "bill-1")
		for _, e := range events[:3] { // one Append, and a trace of what caused it
			want(t, "commit", e.Commit, events[0].Commit)
			want(t, "source", e.Source, "bill")
			want(t, "cause", e.Meta.Get(leat.MetaCausation), stream(t, log, "order-1")[0].ID)
			want(t, "time", e.Time, placed.At)
		}
		l, err := p.Load(t.Context(), log, "1")
		ok(t, err)
		want(t, "state", l, service.Loaded[bill]{State: bill{Begun: true, Settled: true}, Version: 8})
	})
}

// What others complain of: an event that comes twice starts a process twice. And
// an event that came late is not taken for news.
func TestEventsAreDecidedOnOnceAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		feed(t, log, "order-1", orderPaid{"1"}) // decides nothing yet
		feed(t, log, "order-1", orderPlaced{"1"})
		events := stream(t, log, "order-1")
		var wg sync.WaitGroup
		for range 8 {
			p := newBilling(store, s.carryOut) // as in as many processes
			wg.Go(func() {
				for range 3 {
					if err := p.Feed(t.Context(), log, events[1]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		want(t, "stream", types(t, log, "bill-1"), "BillBegun ChargeOrder TimerSet")
		// That the first was handled may be forgotten in a crash.
		ok(t, newBilling(store, s.carryOut).Feed(t.Context(), log, events[0]))
		want(t, "stream", types(t, log, "bill-1"), "BillBegun ChargeOrder TimerSet")
		want(t, "a timer that is not set", newBilling(store, s.carryOut).Fire(t.Context(), log, "2", time.Now().Add(time.Hour)), error(nil))
		want(t, "stream of a process that never was", types(t, log, "bill-2"), "")
	})
}
