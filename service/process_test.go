package service_test

import (
	"context"
	"encoding/json"
	"errors"
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

// After a restore the store may hold timers of a history that is no more. They
// do not keep those from firing that are set, nor let them fire too early.
func TestTimersOfALostHistory(t *testing.T) {
	for _, version := range []uint64{3, 99} { // that is set at version 3
		bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
			var s sent
			app := start(t, log, newBilling(store, s.carryOut))
			feed(t, log, "order-1", orderPlaced{"1"})
			time.Sleep(shortly)
			ok(t, store.SetTimer(t.Context(), "billing/timers", service.Timer{Stream: "bill-1", Name: "payment", Version: version, Due: time.Now()}))
			time.Sleep(shortly)
			want(t, "before it is due", types(t, log, "bill-1"), begun)
			time.Sleep(paymentTime)
			want(t, "after", types(t, log, "bill-1"), lapsed)
			app.stop()
		})
	}
}

// What others complain of: a rebuild, or a lost database, sends everything again.
func TestReplaysDoNothing(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		app := start(t, log, newBilling(store, s.carryOut))
		for i := range 20 {
			feed(t, log, fmt.Sprint("order-", i), orderPlaced{fmt.Sprint(i)})
		}
		time.Sleep(shortly)
		for i := range 10 {
			feed(t, log, fmt.Sprint("payment-", i), orderPaid{fmt.Sprint(2 * i)})
		}
		time.Sleep(shortly)
		app.stop()
		want(t, "commands", s.count(), 30)
		head, err := leat.Start(t.Context(), log, leat.Now)
		ok(t, err)

		store = servicetest.NewMemory()
		app = start(t, log, newBilling(store, s.carryOut))
		time.Sleep(shortly)
		again, err := leat.Start(t.Context(), log, leat.Now)
		ok(t, err)
		want(t, "commands", s.count(), 30)
		want(t, "head", again.String(), head.String())

		time.Sleep(paymentTime) // timers are found again, too
		app.stop()
		for i := range 20 {
			if stream := fmt.Sprint("bill-", i); i%2 == 0 {
				want(t, stream, strings.Contains(types(t, log, stream), "Fired"), false)
			} else {
				want(t, stream, types(t, log, stream), lapsed)
			}
		}
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

// After a restore that lost the end of one shard and not of another, versions
// come round again with other events: those are news.
func TestEventsOfALostHistoryAreNews(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		id := 0 // of an order that is not in the shard of its process
		for shardOf(t, log, fmt.Sprint("order-", id)) == shardOf(t, log, fmt.Sprint("bill-", id)) {
			id++
		}
		order, bill := fmt.Sprint("order-", id), fmt.Sprint("bill-", id)
		for _, e := range []billInput{orderPlaced{fmt.Sprint(id)}, orderPaid{fmt.Sprint(id)}} {
			feed(t, log, order, e)
		}
		p := newBilling(store, s.carryOut)
		for _, r := range stream(t, log, order) {
			ok(t, p.Feed(t.Context(), log, r))
		}
		const decided = "BillBegun ChargeOrder TimerSet BillSettled TimerCancelled ShipOrder"
		want(t, "stream", types(t, log, bill), decided)

		info, err := log.Info(t.Context())
		ok(t, err)
		restored := newLog(t, leat.Config{ID: info.ID, Shards: leat.EvenShards(4), Ended: []leat.Epoch{{Number: 1}}})
		ok(t, restored.Import(t.Context(), shardOf(t, log, bill), stream(t, log, bill)))
		p = newBilling(store, s.carryOut)
		p.React = func(d *billDecision, e billInput, r leat.Recorded) error {
			d.Record(billLapsed{fmt.Sprintf("%T %d", e, r.Version)})
			return nil
		}
		for range 3 {
			feed(t, restored, order, orderNoted{fmt.Sprint(id)})
		}
		for _, again := range []int{0, 1, 2, 0, 2, 1} {
			ok(t, p.Feed(t.Context(), restored, stream(t, restored, order)[again]))
		}
		want(t, "stream", types(t, restored, bill), decided+" BillLapsed BillLapsed BillLapsed")
	})
}

// shardOf returns the open shard that owns a stream.
func shardOf(t *testing.T, log leat.Log, stream string) leat.ShardID {
	shards := allShards(t, log)
	return shards[leat.OpenShard(shards, leat.RouteHash(stream))].ID
}

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
		time.Sleep(shortly)
		want(t, "parked", parkedList(t, store, "billing/commands"), "")
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

func TestEventsThatFeedNoProcess(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		p := newBilling(store, s.carryOut)
		p.React = func(*billDecision, billInput, leat.Recorded) error { return service.Permanent(errBroken) }
		app := start(t, log, p)
		feed(t, log, "order-0", orderPlaced{""})
		_, err := log.Append(t.Context(), []leat.Event{{Stream: "order-1", Type: "OrderPlaced", Source: "x", Data: []byte("{")}})
		ok(t, err)
		feed(t, log, "order-2", orderPlaced{"2"})
		time.Sleep(shortly)
		want(t, "counts", counts(app.app.Status()[0]), "seen 3 handled 0 skipped 1 parked 2 unparked 0 failures 2")
		want(t, "stream", types(t, log, "bill-2"), "")
		app.stop()
	})
}

func TestDecisionsThatCannotBeRecorded(t *testing.T) {
	log := newLog(t, leat.Config{})
	feed(t, log, "order-1", orderPlaced{"1"})
	for name, decide := range map[string]func(*billDecision){
		"Go type service_test.shipped": func(d *billDecision) { d.Do(shipped{}) },
		"Go type <nil>":                func(d *billDecision) { d.Record(nil) },
		"name of timer":                func(d *billDecision) { d.SetTimer("", time.Now()) },
		"due between":                  func(d *billDecision) { d.SetTimer("t", time.Time{}) },
	} {
		p := newBilling(servicetest.NewMemory(), nil)
		p.React = func(d *billDecision, _ billInput, _ leat.Recorded) error {
			d.Record(billBegun{})
			decide(d)
			return nil
		}
		err := p.Feed(t.Context(), log, stream(t, log, "order-1")[0])
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that says %q", err, name)
		}
		want(t, "stream", types(t, log, "bill-1"), "")
	}
}

type shipped struct{}

func TestProcessIsChecked(t *testing.T) {
	log := newLog(t, leat.Config{})
	for field, spoil := range map[string]func(*billing){
		"Types":                func(p *billing) { p.Types = nil },
		"Evolve":               func(p *billing) { p.Evolve = nil },
		"Inputs":               func(p *billing) { p.Inputs = nil },
		"Route":                func(p *billing) { p.Route = nil },
		"React":                func(p *billing) { p.React = nil },
		"Store":                func(p *billing) { p.Store = nil },
		"Category":             func(p *billing) { p.Category = "a-b" },
		"Name":                 func(p *billing) { p.Name = "" },
		"Parallel":             func(p *billing) { p.Parallel = -1 },
		`"ChargeOrder" twice`:  func(p *billing) { p.Commands = append(p.Commands, p.Commands[0]) },
		"what CommandOf":       func(p *billing) { p.Commands = append(p.Commands, service.Command{}) },
		`"BillBegun" twice`:    func(p *billing) { p.Commands = []service.Command{service.CommandOf[shipped]("BillBegun", nil)} },
		`"leat.TimerSet" twic`: func(p *billing) { p.Commands = []service.Command{service.CommandOf[shipped]("leat.TimerSet", nil)} },
	} {
		p := newBilling(servicetest.NewMemory(), func(context.Context, string, leat.Recorded) error { return nil })
		spoil(p)
		_, err := service.NewApp(service.Config{Log: log}, p)
		if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v, want an InvalidError of %s", err, field)
		}
	}
	store := servicetest.NewMemory()
	_, err := service.NewApp(service.Config{Log: log}, newBilling(store, nil), history("billing/timers", store))
	if !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("two applications of one name: %v, want ErrInvalid", err)
	}
	twin := newBilling(store, nil)
	twin.Name = "billing/v2"
	if _, err := service.NewApp(service.Config{Log: log}, newBilling(store, nil), twin); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), "Category") {
		t.Errorf("two processes of one category: %v, want an InvalidError of Category", err)
	}
	twin.Fired = nil
	if err := twin.Fire(t.Context(), log, "1", time.Now()); !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), "Fired") {
		t.Errorf("Fire without Fired: %v, want an InvalidError of Fired", err)
	}
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

// What a process records can be read by anybody.
func TestProcessStreamCanBeRead(t *testing.T) {
	bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
		var s sent
		start(t, log, newBilling(store, s.carryOut))
		feed(t, log, "order-1", orderPlaced{"1"})
		time.Sleep(shortly)
		var texts []string
		for _, e := range stream(t, log, "bill-1") {
			want(t, "JSON", json.Valid(e.Data), true)
			texts = append(texts, string(e.Data))
		}
		want(t, "data", strings.Join(texts, " "),
			`{} {"order":"1"} {"timer":"payment","due":"2000-01-01T00:10:00Z"} {"command":2}`)
	})
}
