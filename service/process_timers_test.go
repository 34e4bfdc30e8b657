package service_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestTimerFiresOnceAndNotBefore(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		app := start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(paymentTime - time.Second)
		want(t, "before", types(t, log, "bill-1"), begun)
		time.Sleep(shortly)
		want(t, "after", types(t, log, "bill-1"), lapsed)
		events := stream(t, log, "bill-1")
		want(t, "time of what a timer caused", events[5].Time, stream(t, log, "order-1")[0].At.Add(paymentTime))
		want(t, "cause", events[5].Meta.Get(leat.MetaCausation), events[2].ID)
		want(t, "correlation", events[5].Meta.Get(leat.MetaCorrelation), stream(t, log, "order-1")[0].ID)
		time.Sleep(time.Hour)
		app.stop()
		start(t, log, newBilling(store, s.carryOut))
		time.Sleep(time.Hour)
		want(t, "much later", types(t, log, "bill-1"), lapsed)
	})
}

// What others complain of: after a restart timers are gone, or fire again.
func TestTimersSurviveRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		app := start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		for range 3 {
			app.stop()
			time.Sleep(paymentTime / 10)
			app = start(t, log, newBilling(store, s.carryOut))
			time.Sleep(paymentTime / 10)
		}
		want(t, "before", types(t, log, "bill-1"), begun)
		app.stop()
		time.Sleep(paymentTime)
		app = start(t, log, newBilling(store, s.carryOut))
		time.Sleep(shortly)
		want(t, "due while nobody looked", types(t, log, "bill-1"), lapsed)
		app.stop()
	})
}

// What others complain of: after an outage the time-out fires before the answer
// is handled that has been waiting all the while.
func TestTimerDoesNotOvertakeWhatWasRecordedBefore(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		app := start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		app.stop()
		time.Sleep(paymentTime / 2)
		for i := range 2000 { // much else to handle first
			feed(t, log, fmt.Sprint("note-", i), orderNoted{fmt.Sprint("n", i)})
		}
		feed(t, log, "payment-7", orderPaid{"1"})
		time.Sleep(paymentTime)

		slow := newBilling(store, s.carryOut)
		react := slow.React
		slow.React = func(d *billDecision, e billInput, r leat.Recorded) error {
			time.Sleep(200 * time.Millisecond)
			return react(d, e, r)
		}
		start(t, log, slow)
		time.Sleep(time.Hour)
		want(t, "stream", types(t, log, "bill-1"), settled)
	})
}

// What others complain of: there can be only one timer, one that fires takes the
// others with it, and one that was set anew fires twice.
func TestTimersOfOneProcess(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		p.React = func(d *billDecision, e billInput, r leat.Recorded) error {
			switch e.(type) {
			case orderPlaced:
				for i, name := range []string{"a", "b", "c", "d"} {
					d.SetTimer(name, r.At.Add(time.Duration(i+1)*time.Minute))
				}
				d.CancelTimer("b")
				d.CancelTimer("never set")
			case orderPaid:
				d.SetTimer("c", r.At.Add(10*time.Minute))
				d.SetTimer("late", r.At.Add(-time.Hour))
			}
			return nil
		}
		p.Fired = func(d *billDecision, timer string, _ time.Time) error {
			d.Record(billLapsed{d.State().Lapsed + timer})
			return nil
		}
		app := start(t, log, p)
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(90 * time.Second)
		feed(t, log, "order-1", orderPaid{"1"})
		time.Sleep(time.Hour)
		app.stop()
		want(t, "stream", types(t, log, "bill-1"), "TimerSet TimerSet TimerSet TimerSet TimerCancelled TimerFired BillLapsed "+
			"TimerSet TimerSet TimerFired BillLapsed TimerFired BillLapsed TimerFired BillLapsed")
		l, err := p.Load(t.Context(), log, "1")
		ok(t, err)
		want(t, "fired in order", l.State.Lapsed, "alatedc")
	})
}

// What the store says of timers may be old: of one that was set anew, cancelled,
// or has fired.
func TestStoredTimersAreNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		p.React = func(d *billDecision, e billInput, r leat.Recorded) error {
			switch e.(type) {
			case orderPlaced:
				d.SetTimer("payment", r.At.Add(paymentTime))
			case orderPaid:
				d.SetTimer("payment", r.At.Add(24*time.Hour))
			case orderNoted:
				d.CancelTimer("payment")
			}
			return nil
		}
		app := start(t, log, p)
		for _, e := range []billInput{orderPlaced{"1"}, orderPaid{"1"}} {
			feed(t, log, "order-1", e)
		}
		time.Sleep(shortly)
		stale := service.Timer{Stream: "bill-1", Name: "payment", Version: 1, Due: time.Now()}
		newest := stale
		newest.Version = 99
		lie := func() {
			ok(t, store.DropTimer(t.Context(), "billing/timers", newest))
			ok(t, store.SetTimer(t.Context(), "billing/timers", stale))
			time.Sleep(shortly)
		}
		lie()
		want(t, "stream", types(t, log, "bill-1"), "TimerSet TimerSet")
		feed(t, log, "order-1", orderNoted{"1"})
		time.Sleep(shortly)
		lie()
		want(t, "stream", types(t, log, "bill-1"), "TimerSet TimerSet TimerCancelled")
		want(t, "handled", app.app.Status()[2].Failures, uint64(0))
		due, err := store.DueTimers(t.Context(), "billing/timers", leat.HashKey{}, leat.MaxHashKey, time.Now().AddDate(1, 0, 0), 10)
		ok(t, err)
		want(t, "timers kept", len(due), 0)
		app.stop()
	})
}

// What others complain of: a step that hangs is never timed out, as its timer
// waits behind it.
func TestTimersDoNotWaitForCommands(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		s := sent{fail: func(string) error { return errBroken }}
		app := start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(paymentTime + shortly)
		want(t, "stream", types(t, log, "bill-1"), "BillBegun ChargeOrder TimerSet TimerFired BillLapsed")
		want(t, "parked", parkedList(t, store, "billing/commands"), "bill-1@2:broken*10")
		want(t, "attempts", s.count(), 10)

		// What is mended is carried out by Retry, and what waits behind it.
		feed(t, log, "payment-1", orderPaid{"1"})
		time.Sleep(shortly)
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		ok(t, store.Retry(t.Context(), "billing/commands", "bill-1"))
		time.Sleep(shortly)
		app.stop()
		want(t, "parked", parkedList(t, store, "billing/commands"), "")
		want(t, "stream", types(t, log, "bill-1"),
			"BillBegun ChargeOrder TimerSet TimerFired BillLapsed BillSettled ShipOrder CommandDone CommandDone")
	})
}

// A timer whose decision fails is tried until it succeeds; the others go on.
func TestTimersThatFail(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		var mu sync.Mutex
		broken := true
		fired := p.Fired
		p.Fired = func(d *billDecision, timer string, due time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			if broken && d.ID() == "1" {
				d.Record(billLapsed{"never recorded"})
				panic("in Fired")
			}
			return fired(d, timer, due)
		}
		app := start(t, log, p)
		for _, id := range []string{"1", "2"} {
			feed(t, log, "order-"+id, orderPlaced{id})
		}
		time.Sleep(paymentTime + time.Hour)
		want(t, "stream", types(t, log, "bill-1"), begun)
		want(t, "stream", types(t, log, "bill-2"), lapsed)
		timers := app.app.Status()[2]
		want(t, "application", timers.Name, "billing/timers")
		want(t, "told", strings.Contains(timers.LastError, "in Fired"), true)
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(time.Minute)
		want(t, "stream", types(t, log, "bill-1"), lapsed)
		app.stop()
	})
}
