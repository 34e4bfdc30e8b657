package service_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
)

// Any past state can be rebuilt, by version and by moment.
func TestPastStates(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	log, err := leattest.New(leat.Config{}, func() time.Time { return now })
	ok(t, err)
	defer log.Close()
	stocks := newStocks()
	states := []stock{{}}
	moments := []time.Time{now.Add(-time.Second)}
	for i := range 20 {
		now = now.Add(time.Minute)
		r := do(t, stocks, log, "A", receive(i))
		states, moments = append(states, r.State), append(moments, r.Receipt.At)
	}
	// The clock that counts is the log's, not the one of what happened.
	now = now.Add(time.Minute)
	do(t, stocks, log, "A", receive(1000), service.At(moments[3]))

	for v := range states {
		got, err := stocks.LoadVersion(t.Context(), log, "A", uint64(v))
		ok(t, err)
		want(t, "by version", got, service.Loaded[stock]{State: states[v], Version: uint64(v)})
		for _, after := range []time.Duration{0, 59 * time.Second} {
			got, err = stocks.LoadAt(t.Context(), log, "A", moments[v].Add(after))
			ok(t, err)
			want(t, "by moment", got, service.Loaded[stock]{State: states[v], Version: uint64(v)})
		}
	}
	got, err := stocks.LoadAt(t.Context(), log, "A", moments[7].Add(-1))
	ok(t, err)
	want(t, "just before an event", got.State, states[6])
	got, err = stocks.LoadAt(t.Context(), log, "A", now.AddDate(100, 0, 0))
	ok(t, err)
	want(t, "in the future", got.Version, uint64(21))
	got, err = stocks.LoadAt(t.Context(), log, "B", now)
	ok(t, err)
	want(t, "of what never was", got, service.Loaded[stock]{})
}

func TestPastStatesThatCannotBeHad(t *testing.T) {
	log := newLog(t, leat.Config{})
	stocks := newStocks()
	for range 5 {
		do(t, stocks, log, "A", receive(1))
	}
	if _, err := stocks.LoadVersion(t.Context(), log, "A", 6); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("a version that is not there yet: %v, want ErrNotFound", err)
	}
	for _, load := range []func() (service.Loaded[stock], error){
		func() (service.Loaded[stock], error) { return stocks.LoadAt(t.Context(), log, "", time.Now()) },
		func() (service.Loaded[stock], error) { return stocks.LoadVersion(t.Context(), log, "", 0) },
		func() (service.Loaded[stock], error) { return stocks.LoadVersion(t.Context(), nil, "A", 1) },
	} {
		if _, err := load(); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("a wrong argument: %v, want ErrInvalid", err)
		}
	}
	_, err := log.Trim(t.Context(), leat.ShardNumber(0), 3)
	ok(t, err)
	if _, err := stocks.LoadVersion(t.Context(), log, "A", 4); !errors.Is(err, leat.ErrTrimmed) {
		t.Errorf("a history that is trimmed: %v, want ErrTrimmed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stocks.LoadAt(ctx, log, "A", time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v, want its error", err)
	}
}
