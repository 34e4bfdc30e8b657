package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// Whoever dies after a command and before it is known to be done sends it again,
// under the same ID.
func TestCommandsAreRepeatedUnderTheSameKey(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		stocks := newStocks()
		var s sent
		lost := true
		carryOut := func(ctx context.Context, command string, r leat.Recorded) error {
			ok(t, s.carryOut(ctx, command, r)) // which checks the key
			if _, err := stocks.Do(ctx, log, "A", receive(1), service.CausedBy(r, "receive")); err != nil {
				return err
			}
			if lost {
				lost = false
				return errAway
			}
			return nil
		}
		app := start(t, log, newBilling(store, carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		app.stop()
		want(t, "carried out", s.String(), "charge 1, charge 1")
		want(t, "effects", types(t, log, "stock-A"), "Received")
		want(t, "stream", types(t, log, "bill-1"), begun)
	})
}

// undone does not take for a minute that a command is done.
type undone struct {
	leat.Log
	until time.Time
}

func (u undone) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if events[0].Type == "leat.CommandDone" && time.Now().Before(u.until) {
		return leat.Receipt{}, leat.ErrUnavailable
	}
	return u.Log.Append(ctx, events, conds...)
}

// A command that is passed over is done, too, and that is recorded, however long
// it takes.
func TestCommandsThatArePassedOverAreRecordedAsDone(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		skip := func(context.Context, string, leat.Recorded) error { return service.ErrSkipped }
		start(t, undone{log, time.Now().Add(time.Minute)}, newBilling(store, skip))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(2 * time.Minute)
		want(t, "stream", types(t, log, "bill-1"), begun)
	})
}

// What others complain of: commands that wait at a restart are forgotten until
// something else happens.
func TestCommandsThatWaitAreCarriedOutAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		feed(t, log, "order-1", orderPlaced{"1"})
		var s sent
		p := newBilling(store, s.carryOut)
		ok(t, p.Feed(t.Context(), log, stream(t, log, "order-1")[0])) // and then it died
		start(t, log, newBilling(store, s.carryOut))
		time.Sleep(shortly)
		want(t, "carried out", s.String(), "charge 1")
		want(t, "stream", types(t, log, "bill-1"), begun)
	})
}

// A command that is refused is an outcome like any other.
func TestRefusedCommands(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		s := sent{fail: func(command string) error {
			if strings.HasPrefix(command, "charge") {
				return service.Permanent(errors.New("no credit"))
			}
			return nil
		}}
		p := newBilling(store, s.carryOut)
		p.Refused = func(d *billDecision, command any, reason string) error {
			d.Record(billLapsed{fmt.Sprintf("%T %s", command, reason)})
			d.CancelTimer("payment")
			d.Do(shipOrder{d.ID()})
			return nil
		}
		app := start(t, log, p)
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(2 * paymentTime)
		app.stop()
		want(t, "stream", types(t, log, "bill-1"),
			"BillBegun ChargeOrder TimerSet CommandRefused BillLapsed TimerCancelled ShipOrder CommandDone")
		l, err := p.Load(t.Context(), log, "1")
		ok(t, err)
		want(t, "reason", l.State.Lapsed, "service_test.chargeOrder no credit")
		want(t, "carried out", s.String(), "charge 1, ship 1")
	})
}

// Somebody gives up a command that is parked, and the process hears of it.
func TestGivingUpACommand(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		s := sent{fail: func(string) error { return errBroken }}
		p := newBilling(store, s.carryOut)
		p.Refused = func(d *billDecision, _ any, reason string) error {
			d.Record(billLapsed{reason})
			return nil
		}
		start(t, log, p)
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(5 * time.Minute)
		want(t, "parked", parkedList(t, store, "billing/commands"), "bill-1@2:broken*10")
		events := stream(t, log, "bill-1")
		for range 2 {
			ok(t, p.Refuse(t.Context(), log, events[1], "given up"))
		}
		ok(t, store.Retry(t.Context(), "billing/commands", "bill-1"))
		time.Sleep(shortly)
		want(t, "parked", parkedList(t, store, "billing/commands"), "")
		want(t, "stream", types(t, log, "bill-1"), "BillBegun ChargeOrder TimerSet CommandRefused BillLapsed")
		want(t, "attempts", s.count(), 10)
		if err := p.Refuse(t.Context(), log, events[0], "no command"); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("refuse what is no command: %v, want ErrInvalid", err)
		}
	})
}

// An outage says nothing about what was being handled, however long it lasts.
func TestOutagesParkNothing(t *testing.T) {
	for _, outage := range []error{leat.ErrUnavailable, leat.ErrFull, leat.ErrUncertain} {
		bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
			away := fmt.Errorf("call: %w", outage)
			var s sent
			s.fail = func(string) error { return away }
			var mu sync.Mutex
			reacted, answer := 0, away
			reactor := service.Reactor{Name: "reactor", Checkpoints: store, Filter: leat.Filter{Types: []string{"OrderPlaced"}}, React: func(context.Context, leat.Recorded) error {
				mu.Lock()
				defer mu.Unlock()
				reacted++
				return answer
			}}
			app := start(t, log, newBilling(store, s.carryOut), reactor)
			feed(t, log, "order-1", orderPlaced{"1"})
			time.Sleep(2 * time.Hour)
			mu.Lock()
			want(t, "tried often", reacted > 100 && s.count() > 100, true)
			answer = nil
			mu.Unlock()
			s.mu.Lock()
			s.fail = nil
			s.mu.Unlock()
			time.Sleep(time.Minute)
			for _, status := range app.app.Status() {
				want(t, "parked by "+status.Name, status.Parked, uint64(0))
			}
			want(t, "handled", app.app.Status()[3].Handled, uint64(1))
			want(t, "stream", types(t, log, "bill-1"), "BillBegun ChargeOrder TimerSet TimerFired BillLapsed CommandDone")
			app.stop()
		})
	}
}

// While parked events are tried again, too, an outage leaves them as they are.
func TestOutagesLeaveParkedEventsDue(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		s.fail = func(string) error { return service.Permanent(errBroken) }
		start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		want(t, "parked", parkedList(t, store, "billing/commands"), "bill-1@2:broken*1")
		s.mu.Lock()
		s.fail = func(string) error { return leat.ErrUnavailable }
		s.mu.Unlock()
		ok(t, store.Retry(t.Context(), "billing/commands", "bill-1"))
		time.Sleep(time.Hour)
		want(t, "parked", parkedList(t, store, "billing/commands"), "bill-1@2:broken*1")
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(20 * time.Second)
		want(t, "parked", parkedList(t, store, "billing/commands"), "")
	})
}

// A command that was recorded before the service was replaced by its next
// version is carried out by that.
func TestCommandsOfAnOlderForm(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		old := newBilling(store, s.carryOut)
		feed(t, log, "order-1", orderPlaced{"1"})
		ok(t, old.Feed(t.Context(), log, stream(t, log, "order-1")[0]))
		young := newBilling(store, s.carryOut)
		type charge struct{ Orders []string }
		young.Commands[0] = service.CommandOf("billing.charge", func(ctx context.Context, c charge, r leat.Recorded) error {
			return s.carryOut(ctx, fmt.Sprint("charge all of ", c.Orders), r)
		}, service.Upcast("ChargeOrder", func(c chargeOrder) charge { return charge{[]string{c.Order}} }))
		start(t, log, young)
		time.Sleep(shortly)
		want(t, "carried out", s.String(), "charge all of [1]")
	})
}
