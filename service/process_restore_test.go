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
			ok(t, store.SetTimer(t.Context(), "billing/timers", service.Timer{Stream: "bill-1", Name: "payment", Epoch: 1, Version: version, Due: time.Now()}))
			time.Sleep(shortly)
			want(t, "before it is due", types(t, log, "bill-1"), begun)
			time.Sleep(paymentTime)
			want(t, "after", types(t, log, "bill-1"), lapsed)
			app.stop()
		})
	}
}

// A restore may lose what had set a timer anew, or cancelled it, when the store
// knows of that already. The one that is set then fires in time nevertheless.
func TestTimersThatARestoreBringsBack(t *testing.T) {
	for name, lost := range map[string]billInput{"set anew": orderPaid{"1"}, "cancelled": orderNoted{"1"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, log leat.Log, store *servicetest.Memory) {
				info, err := log.Info(t.Context())
				ok(t, err)
				var s sent
				p := func() *billing {
					p := newBilling(store, s.carryOut)
					p.React = func(d *billDecision, e billInput, r leat.Recorded) error {
						switch e.(type) {
						case orderPlaced:
							d.SetTimer("payment", r.At.Add(paymentTime))
						case orderPaid:
							d.SetTimer("payment", r.At.AddDate(1, 0, 0))
						case orderNoted:
							d.CancelTimer("payment")
						}
						return nil
					}
					return p
				}
				app := start(t, log, p())
				feed(t, log, "order-1", orderPlaced{"1"})
				time.Sleep(shortly)
				app.stop()
				kept := allShards(t, log)
				before := make(map[string]leat.Checkpoint)
				for _, name := range []string{"billing", "billing/commands", "billing/timers"} {
					before[name], err = store.Checkpoint(t.Context(), name)
					ok(t, err)
				}
				app = start(t, log, p())
				feed(t, log, "order-1", lost)
				time.Sleep(shortly)
				app.stop()
				for name, to := range before { // they had not saved the last second
					at, err := store.Checkpoint(t.Context(), name)
					ok(t, err)
					for shard := range at.Seqs {
						to.Set(shard, to.Seqs[shard])
					}
					ok(t, store.Save(t.Context(), service.Step{Name: name, From: at, To: to}))
				}

				ended := leat.Epoch{Number: 1, Heads: make(map[leat.ShardID]uint64)}
				for _, shard := range kept {
					ended.Heads[shard.ID] = shard.Head
				}
				restored := newLog(t, leat.Config{ID: info.ID, Shards: leat.EvenShards(4), Ended: []leat.Epoch{ended}})
				for _, shard := range kept {
					b, err := log.ReadShard(t.Context(), shard.ID, 0, leat.ReadOptions{})
					ok(t, err)
					if shard.Head > 0 {
						ok(t, restored.Import(t.Context(), shard.ID, b.Events[:shard.Head]))
					}
				}
				app = start(t, restored, p())
				time.Sleep(2 * paymentTime)
				want(t, "stream", types(t, restored, "bill-1"), "TimerSet TimerFired BillLapsed")
				app.stop()
			})
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
