package service_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

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
