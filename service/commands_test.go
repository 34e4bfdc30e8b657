package service_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

func TestCommandsOfOneProcessQueue(t *testing.T) {
	const workers, each = 8, 50
	log := &watched{Log: newLog(t, leat.Config{Shards: leat.EvenShards(2)})}
	stocks := newStocks()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				do(t, stocks, log, fmt.Sprint((w+i)%3), receive(1))
			}
		})
	}
	wg.Wait()
	want(t, "appends", log.appends.Load(), int64(workers*each))
	sum := 0
	for id := range 3 {
		loaded, err := stocks.Load(t.Context(), log, fmt.Sprint(id))
		if err != nil {
			t.Fatal(err)
		}
		sum += loaded.State.OnHand
	}
	want(t, "sum", sum, workers*each)
}

func TestCommandsOfTwoProcessesInterleave(t *testing.T) {
	log := newLog(t, leat.Config{})
	var wg sync.WaitGroup
	for range 2 {
		stocks := newStocks()
		for range 2 {
			wg.Go(func() {
				for range 100 {
					do(t, stocks, log, "A", receive(1))
				}
			})
		}
	}
	wg.Wait()
	loaded, err := newStocks().Load(t.Context(), log, "A")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "loaded", loaded, service.Loaded[stock]{State: stock{OnHand: 400, Events: 400}, Version: 400})
}

func TestDoWaitingForItsTurnObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		stocks := newStocks()
		hold := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			do(t, stocks, log, "A", func(stock) ([]stockEvent, error) {
				<-hold
				return []stockEvent{received{1}}, nil
			})
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := stocks.Do(ctx, log, "A", receive(1))
		want(t, "error", err, context.DeadlineExceeded)
		close(hold)
		wg.Wait()
		want(t, "version", do(t, stocks, log, "A", receive(1)).Version, uint64(2))
	})
}

// Commands of two processes on the same streams, each sent by both and repeated,
// while answers are lost, callers give up and states are evicted.
func TestCommandsAreCarriedOutOnceHoweverAppendsFail(t *testing.T) {
	const commands, streams = 60, 3
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		below := chance(t)
		log.append = func(ctx context.Context, events []leat.Event, conds []leat.Condition) (leat.Receipt, error) {
			fate := below(6)
			if fate == 0 {
				return leat.Receipt{}, fmt.Errorf("not sent: %w", leat.ErrUncertain)
			}
			r, err := log.Log.Append(ctx, events, conds...)
			if fate == 1 {
				return leat.Receipt{}, fmt.Errorf("answer lost: %w", leat.ErrUncertain)
			}
			return r, err
		}
		var wg sync.WaitGroup
		for range 2 {
			stocks := newStocks()
			stocks.Cache = 1
			send := func(command int) error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(below(100))*time.Millisecond)
				defer cancel()
				_, err := stocks.Do(ctx, log, fmt.Sprint(command%streams), func(stock) ([]stockEvent, error) {
					return []stockEvent{received{1}, reserved{fmt.Sprint(command), 1}, received{1}}, nil
				}, service.CommandID(fmt.Sprint("c", command)))
				return err
			}
			for range 3 {
				wg.Go(func() {
					first := below(commands)
					for i := range commands {
						command := (first + i) % commands
						for send(command) != nil {
						}
					}
				})
			}
			wg.Go(func() {
				var last [streams]uint64
				for i := range 300 {
					time.Sleep(time.Millisecond)
					loaded, err := stocks.Load(context.Background(), log, fmt.Sprint(i%streams))
					ok(t, err)
					if loaded.Version < last[i%streams] || loaded.Version%3 != 0 || uint64(loaded.State.Events) != loaded.Version || uint64(loaded.State.OnHand) != loaded.Version/3 {
						t.Errorf("loaded %+v after version %d", loaded, last[i%streams])
					}
					last[i%streams] = loaded.Version
				}
			})
		}
		wg.Wait()
		for i := range streams {
			want(t, "events", len(stream(t, log, fmt.Sprint("stock-", i))), 3*commands/streams)
		}
	})
}

// chance returns a function that returns a random number below another, from a
// seed that the test logs when it fails. It is safe for concurrent use.
func chance(t testing.TB) func(n int) int {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	var mu sync.Mutex
	return func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
}

// forgetful takes duplicates for its own, as a client may that lost the answer
// to an append and sent it again.
type forgetful struct{ leat.Log }

func (l *forgetful) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	r, err := l.Log.Append(ctx, events, conds...)
	r.Duplicate = false
	return r, err
}

func TestDoTrustsVersionsNotDuplicate(t *testing.T) {
	log := newLog(t, leat.Config{})
	one, other := newStocks(), newStocks()
	before := &forgetful{log}
	do := func(a *service.Aggregate[stock, stockEvent], l leat.Log, id string, units int) service.Result[stock] {
		t.Helper()
		r, err := a.Do(t.Context(), l, "A", receive(units), service.CommandID(id))
		ok(t, err)
		return r
	}
	do(one, before, "first", 1)
	do(other, log, "second", 10)
	do(other, log, "third", 100)
	if r := do(one, before, "third", 100); !r.Duplicate || r.Version != 3 {
		t.Errorf("a command that another process carried out gives %+v, want a duplicate at version 3", r)
	}
	do(one, before, "fourth", 1000)
	got, err := one.Load(t.Context(), before, "A")
	ok(t, err)
	want, err := newStocks().Load(t.Context(), log, "A")
	ok(t, err)
	if got != want {
		t.Errorf("the kept state is %+v, the log's %+v", got, want)
	}
}
