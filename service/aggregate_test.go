package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(t testing.TB, c leat.Config) *leattest.Log {
	t.Helper()
	log, err := leattest.New(c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// watched counts what is asked of a log, and lets a test get between.
type watched struct {
	leat.Log
	appends, read atomic.Int64
	append        func(ctx context.Context, events []leat.Event, conds []leat.Condition) (leat.Receipt, error) // when set
}

func (w *watched) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	w.appends.Add(1)
	if w.append != nil {
		return w.append(ctx, events, conds)
	}
	return w.Log.Append(ctx, events, conds...)
}

func (w *watched) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		for e, err := range w.Log.ReadStream(ctx, stream, r) {
			w.read.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

// stream returns the events of a stream.
func stream(t testing.TB, log leat.Log, name string) (events []leat.Recorded) {
	t.Helper()
	for r, err := range log.ReadStream(context.WithoutCancel(t.Context()), name, leat.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, r)
	}
	return events
}

// do carries out a command that has to succeed.
func do(t testing.TB, a *service.Aggregate[stock, stockEvent], log leat.Log, id string, decide func(stock) ([]stockEvent, error), opts ...service.Option) service.Result[stock] {
	t.Helper()
	r, err := a.Do(context.WithoutCancel(t.Context()), log, id, decide, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

func TestDoRecordsWhatIsDecided(t *testing.T) {
	log := newLog(t, leat.Config{})
	at := time.Date(2011, 1, 2, 3, 4, 5, 0, time.UTC)
	r := do(t, newStocks(), log, "A", func(s stock) ([]stockEvent, error) {
		want(t, "first state", s, stock{})
		return []stockEvent{received{5}, reserved{"1", 2}}, nil
	}, service.CommandID("c-1"), service.At(at), service.WithMeta("b", "2", "a", "1"))
	want(t, "state", r.State, stock{OnHand: 3, Events: 2})
	want(t, "version", r.Version, uint64(2))
	want(t, "last sequence", r.Receipt.Last, uint64(2))

	events := stream(t, log, "stock-A")
	want(t, "number of events", len(events), 2)
	for i, e := range events {
		want(t, "ID", e.ID, []string{"c-1", "c-1/2"}[i])
		want(t, "type", e.Type, []string{"Received", "Reserved"}[i])
		want(t, "data", string(e.Data), []string{`{"units":5}`, `{"order":"1","units":2}`}[i])
		want(t, "source", e.Source, "inventory")
		want(t, "time", e.Time, at)
		want(t, "commit", e.Commit, uint64(1))
		want(t, "meta", fmt.Sprint(e.Meta), "[{a 1} {b 2}]")
	}
	loaded, err := newStocks().Load(t.Context(), log, "A")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "loaded", loaded, service.Loaded[stock]{State: r.State, Version: 2})
}

func TestDoReturnsWhatDecideReturns(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	_, err := stocks.Do(t.Context(), log, "A", reserve("1", 1))
	want(t, "error", err, errShort)
	r := do(t, stocks, log, "A", func(stock) ([]stockEvent, error) { return nil, nil })
	want(t, "version after nothing", r.Version, uint64(0))
	_, err = stocks.Do(t.Context(), log, "A", func(stock) ([]stockEvent, error) { return []stockEvent{received{1}, unlisted{}}, nil })
	if !errors.Is(err, service.ErrUnknownType) || !strings.Contains(err.Error(), "stock-A") {
		t.Errorf("error %v, want ErrUnknownType and the stream", err)
	}
	want(t, "number of events", len(stream(t, log, "stock-A")), 0)
}

func TestDoDecidesAgainWhenAnotherProcessWasFaster(t *testing.T) {
	log := newLog(t, leat.Config{})
	mine, other := newStocks(), newStocks()
	do(t, mine, log, "A", receive(5))
	do(t, other, log, "A", reserve("1", 3))

	var seen []int
	_, err := mine.Do(t.Context(), log, "A", func(s stock) ([]stockEvent, error) {
		seen = append(seen, s.OnHand)
		return reserve("2", 4)(s)
	})
	want(t, "error", err, errShort)
	want(t, "states decided on", fmt.Sprint(seen), "[5 2]")
}

// A refusal must not come from a state that is out of date.
func TestDoRefusesOnlyOnFreshState(t *testing.T) {
	log := newLog(t, leat.Config{})
	mine, other := newStocks(), newStocks()
	do(t, mine, log, "A", receive(1))
	do(t, other, log, "A", receive(9))
	r := do(t, mine, log, "A", reserve("1", 10))
	want(t, "state", r.State, stock{OnHand: 0, Events: 3})

	do(t, other, log, "A", receive(3))
	r = do(t, mine, log, "A", func(s stock) ([]stockEvent, error) {
		if s.OnHand == 0 {
			return nil, nil
		}
		return []stockEvent{reserved{"2", s.OnHand}}, nil
	})
	want(t, "version", r.Version, uint64(5))
}

func TestDoGivesUpOnEndlessConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		other := newStocks()
		log.append = func(ctx context.Context, events []leat.Event, conds []leat.Condition) (leat.Receipt, error) {
			if _, err := other.Do(ctx, log.Log, "A", receive(1)); err != nil {
				return leat.Receipt{}, err
			}
			return log.Log.Append(ctx, events, conds...)
		}
		_, err := newStocks().Do(t.Context(), log, "A", receive(1))
		conflict, ok := errors.AsType[*leat.ConflictError](err)
		if !ok || conflict.Actual != 10 || !strings.Contains(err.Error(), "10 times") {
			t.Fatalf("error %v, want a ConflictError after 10 attempts", err)
		}
		want(t, "appends", log.appends.Load(), int64(10))
	})
}

func TestDoCarriesOutACommandOnce(t *testing.T) {
	one := func(stock) ([]stockEvent, error) { return []stockEvent{received{5}, received{6}}, nil }
	for name, again := range map[string]func(stock) ([]stockEvent, error){
		"the same":             one,
		"refused now":          func(stock) ([]stockEvent, error) { return nil, errShort },
		"nothing to do now":    func(stock) ([]stockEvent, error) { return nil, nil },
		"another first event":  func(stock) ([]stockEvent, error) { return []stockEvent{received{7}}, nil },
		"another second event": func(stock) ([]stockEvent, error) { return []stockEvent{received{5}, received{7}}, nil },
		"fewer events":         func(stock) ([]stockEvent, error) { return []stockEvent{received{5}}, nil },
		"more events":          func(stock) ([]stockEvent, error) { return []stockEvent{received{5}, received{6}, received{7}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			log := newLog(t, leat.Config{})
			first, restarted := newStocks(), newStocks()
			do(t, first, log, "A", receive(1))
			if do(t, first, log, "A", one, service.CommandID("c")).Duplicate {
				t.Fatal("the first time counts as a duplicate")
			}
			do(t, first, log, "A", receive(2))
			for _, a := range []*service.Aggregate[stock, stockEvent]{first, restarted, restarted} {
				r := do(t, a, log, "A", again, service.CommandID("c"))
				want(t, "result", fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", service.Result[stock]{
					State: stock{OnHand: 14, Events: 4}, Version: 4, Duplicate: true,
				}))
			}
			want(t, "number of events", len(stream(t, log, "stock-A")), 4)
		})
	}
}

// A command that was refused may be repeated, and be carried out then.
func TestDoRefusedCommandIsNotADuplicate(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	_, err := stocks.Do(t.Context(), log, "A", reserve("1", 2), service.CommandID("c"))
	want(t, "error", err, errShort)
	do(t, stocks, log, "A", receive(2))
	r := do(t, stocks, log, "A", reserve("1", 2), service.CommandID("c"))
	want(t, "duplicate", r.Duplicate, false)
	want(t, "version", r.Version, uint64(2))
}

func TestDoTellsOfIDsThatMeet(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	do(t, stocks, log, "A", receive(1), service.CommandID("c/2"))
	_, err := stocks.Do(t.Context(), log, "A", func(stock) ([]stockEvent, error) {
		return []stockEvent{received{5}, received{6}}, nil
	}, service.CommandID("c"))
	want(t, "is ErrIDReused", errors.Is(err, leat.ErrIDReused), true)
	_, err = stocks.Do(t.Context(), log, "A", func(stock) ([]stockEvent, error) {
		return []stockEvent{received{5}, received{1}}, nil
	}, service.CommandID("c"))
	want(t, "is ErrPartial", errors.Is(err, leat.ErrPartial), true)
	want(t, "number of events", len(stream(t, log, "stock-A")), 1)
}

func TestCausedBy(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	at := time.Date(2011, 1, 2, 3, 4, 5, 0, time.UTC)
	cause := leat.Recorded{Event: leat.Event{
		ID: "536365/placed", Stream: "order-536365", Time: at, Meta: leat.NewMeta(leat.MetaTraceParent, "00-abc-def-01", "other", "x"),
	}}
	twin := cause
	twin.Stream = "order-536366" // the same ID in another stream
	do(t, stocks, log, "A", receive(1), service.CausedBy(cause, "receive"))
	do(t, stocks, log, "A", receive(2), service.CausedBy(cause, "receive more"))
	do(t, stocks, log, "A", receive(3), service.CausedBy(twin, "receive"))
	if !do(t, stocks, log, "A", receive(1), service.CausedBy(cause, "receive")).Duplicate {
		t.Error("the second answer to an event is no duplicate")
	}
	events := stream(t, log, "stock-A")
	want(t, "number of events", len(events), 3)
	want(t, "time", events[0].Time, at)
	want(t, "meta", fmt.Sprint(events[0].Meta),
		"[{causationid 536365/placed} {correlationid 536365/placed} {traceparent 00-abc-def-01}]")

	do(t, stocks, log, "B", receive(1), service.WithMeta("z", "1"), service.CausedBy(events[0], "move"))
	moved := stream(t, log, "stock-B")[0]
	want(t, "meta of the next", fmt.Sprint(moved.Meta),
		fmt.Sprintf("[{causationid %s} {correlationid 536365/placed} {traceparent 00-abc-def-01} {z 1}]", events[0].ID))
	want(t, "length of an ID along a chain", len(moved.ID)-len("move"), len(events[0].ID)-len("receive"))
}

func TestDoRepeatsWhatIsUncertain(t *testing.T) {
	for _, c := range []struct {
		name     string
		recorded bool // by the attempt that was uncertain
		opts     []service.Option
	}{
		{"recorded", true, nil},
		{"not recorded", false, nil},
		{"recorded, with an ID", true, []service.Option{service.CommandID("c")}},
		{"not recorded, with an ID", false, []service.Option{service.CommandID("c")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &watched{Log: newLog(t, leat.Config{})}
				stocks := newStocks()
				do(t, stocks, log, "A", receive(1))
				failures := 0
				log.append = func(ctx context.Context, events []leat.Event, conds []leat.Condition) (leat.Receipt, error) {
					if failures++; failures < 3 {
						if c.recorded {
							_, _ = log.Log.Append(ctx, events, conds...)
						}
						return leat.Receipt{}, fmt.Errorf("connection lost: %w", leat.ErrUncertain)
					}
					return log.Log.Append(ctx, events, conds...)
				}
				r := do(t, stocks, log, "A", receive(2), c.opts...)
				want(t, "duplicate", r.Duplicate, false)
				want(t, "state", r.State, stock{OnHand: 3, Events: 2})
				want(t, "number of events", len(stream(t, log, "stock-A")), 2)
			})
		})
	}
}

func TestDoTellsWhatStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		ids := make(map[string]bool)
		log.append = func(_ context.Context, events []leat.Event, _ []leat.Condition) (leat.Receipt, error) {
			if events[0].ID == "" {
				events[0].ID = leat.NewID()
			}
			ids[events[0].ID] = true
			return leat.Receipt{}, leat.ErrUncertain
		}
		_, err := newStocks().Do(t.Context(), log, "A", receive(2))
		want(t, "is ErrUncertain", errors.Is(err, leat.ErrUncertain), true)
		want(t, "IDs used", len(ids), 1)
		want(t, "attempts", log.appends.Load(), int64(5))
	})
}

func TestDoReadsAStreamOnce(t *testing.T) {
	log := &watched{Log: newLog(t, leat.Config{})}
	do(t, newStocks(), log, "A", func(stock) ([]stockEvent, error) {
		return make100(received{1}), nil
	})
	stocks := newStocks()
	for range 50 {
		do(t, stocks, log, "A", reserve("1", 1))
	}
	want(t, "events read", log.read.Load(), int64(100))
}

func make100(e stockEvent) []stockEvent {
	events := make([]stockEvent, 100)
	for i := range events {
		events[i] = e
	}
	return events
}

func TestCacheKeepsTheStatesUsedLast(t *testing.T) {
	for _, c := range []struct{ size, read int }{
		{3, 0}, // all three stay
		{2, 6}, // of three in turn none stays
		{-1, 6},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			log := &watched{Log: newLog(t, leat.Config{})}
			stocks := newStocks()
			stocks.Cache = c.size
			for round := range 3 {
				for _, id := range []string{"A", "B", "C"} {
					r := do(t, stocks, log, id, receive(1))
					want(t, "version", r.Version, uint64(round+1))
				}
				if round == 0 {
					log.read.Store(0)
				}
			}
			want(t, "events read", log.read.Load(), int64(c.read/2*3))
		})
	}
}

// One aggregate may be used with several logs, as in tests that run in parallel.
func TestCacheKeepsLogsApart(t *testing.T) {
	stocks := newStocks()
	a, b := newLog(t, leat.Config{}), newLog(t, leat.Config{})
	do(t, stocks, a, "A", receive(1))
	r := do(t, stocks, b, "A", receive(5))
	want(t, "state in the other log", r.State, stock{OnHand: 5, Events: 1})
}

// A log that was restored to an earlier moment has less than what was kept.
func TestDoForgetsWhatTheLogLost(t *testing.T) {
	log := &watched{Log: newLog(t, leat.Config{})}
	stocks := newStocks()
	for range 3 {
		do(t, stocks, log, "A", receive(1))
	}
	restored := newLog(t, leat.Config{})
	do(t, newStocks(), restored, "A", receive(7))
	log.Log = restored
	r := do(t, stocks, log, "A", receive(1))
	want(t, "state", r.State, stock{OnHand: 8, Events: 2})
}

// A panic leaves nothing half done behind, though Evolve writes in place.
func TestDoSurvivesAPanic(t *testing.T) {
	log := newLog(t, leat.Config{})
	broken := false
	sums := &service.Aggregate[map[string]int, stockEvent]{
		Category: "stock", Types: stockTypes, Clone: maps.Clone[map[string]int],
		Evolve: func(s map[string]int, e stockEvent) map[string]int {
			if s == nil {
				s = make(map[string]int)
			}
			s["sum"] += e.(received).Units
			if broken {
				panic("in Evolve")
			}
			return s
		},
	}
	carryOut := func(decide func(map[string]int) ([]stockEvent, error), panics bool) (r service.Result[map[string]int]) {
		t.Helper()
		defer func() {
			if (recover() != nil) != panics {
				t.Errorf("panics is not %v", panics)
			}
		}()
		r, err := sums.Do(t.Context(), log, "A", decide)
		ok(t, err)
		return r
	}
	add := func(map[string]int) ([]stockEvent, error) { return []stockEvent{received{2}}, nil }
	carryOut(add, false)
	carryOut(func(map[string]int) ([]stockEvent, error) { panic("in decide") }, true)
	broken = true
	carryOut(add, true) // after it was appended
	broken = false
	want(t, "sum", carryOut(add, false).State["sum"], 6)

	do(t, newStocks(), log, "A", receive(3))
	broken = true
	carryOut(add, true) // while it reads what others wrote
	broken = false
	want(t, "sum", carryOut(add, false).State["sum"], 11)
}

// With Clone set, Evolve may write to the maps it is given.
func TestCloneKeepsStatesApart(t *testing.T) {
	log := newLog(t, leat.Config{})
	orders := service.Aggregate[map[string]int, stockEvent]{
		Category: "stock", Types: stockTypes, Clone: maps.Clone[map[string]int],
		Evolve: func(s map[string]int, e stockEvent) map[string]int {
			if s == nil {
				s = make(map[string]int)
			}
			s[e.(reserved).Order]++
			return s
		},
	}
	take := func(order string) func(map[string]int) ([]stockEvent, error) {
		return func(map[string]int) ([]stockEvent, error) { return []stockEvent{reserved{order, 1}}, nil }
	}
	first, err := orders.Do(t.Context(), log, "A", take("1"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := orders.Load(t.Context(), log, "A")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orders.Do(t.Context(), log, "A", take("2")); err != nil {
		t.Fatal(err)
	}
	want(t, "state of the first command", fmt.Sprint(first.State), "map[1:1]")
	want(t, "state that was loaded", fmt.Sprint(loaded.State), "map[1:1]")
	want(t, "source", stream(t, log, "stock-A")[0].Source, "stock")
}

func TestLoadTellsWhichEventItCannotRead(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	do(t, stocks, log, "A", receive(1))
	if _, err := log.Append(t.Context(), []leat.Event{{Stream: "stock-A", Type: "Received", Source: "x", Data: []byte("{")}}); err != nil {
		t.Fatal(err)
	}
	_, err := stocks.Load(t.Context(), log, "A")
	if decode, ok := errors.AsType[*service.DecodeError](err); !ok || decode.Version != 2 {
		t.Errorf("error %v, want a DecodeError of version 2", err)
	}
}

func TestAggregateIsChecked(t *testing.T) {
	for _, c := range []struct {
		field, id string
		spoil     func(*service.Aggregate[stock, stockEvent])
	}{
		{"Aggregate.Category", "A", func(a *service.Aggregate[stock, stockEvent]) { a.Category = "" }},
		{"Aggregate.Category", "A", func(a *service.Aggregate[stock, stockEvent]) { a.Category = "a-b" }},
		{"Aggregate.Category", "A", func(a *service.Aggregate[stock, stockEvent]) { a.Category = "$log" }},
		{"Aggregate.Types", "A", func(a *service.Aggregate[stock, stockEvent]) { a.Types = nil }},
		{"Aggregate.Evolve", "A", func(a *service.Aggregate[stock, stockEvent]) { a.Evolve = nil }},
		{"id of stock", "", func(*service.Aggregate[stock, stockEvent]) {}},
	} {
		a := newStocks()
		c.spoil(a)
		_, err := a.Do(t.Context(), newLog(t, leat.Config{}), c.id, receive(1))
		if invalid, ok := errors.AsType[*leat.InvalidError](err); !ok || invalid.Field != c.field {
			t.Errorf("error %v, want an InvalidError of %s", err, c.field)
		}
	}
	if _, err := newStocks().Do(t.Context(), nil, "A", receive(1)); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("without a log: %v, want ErrInvalid", err)
	}
	_, err := newStocks().Do(t.Context(), newLog(t, leat.Config{}), strings.Repeat("x", 300), receive(1))
	if invalid, ok := errors.AsType[*leat.InvalidError](err); !ok || !strings.Contains(invalid.Field, "stream") {
		t.Errorf("a long id: %v, want an InvalidError of the stream", err)
	}
}
