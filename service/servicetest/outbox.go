package servicetest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// An Outbox is a service.Outbox with what a service uses of it. Tx is the
// database's transaction.
type Outbox[Tx any] interface {
	service.Outbox
	Put(ctx context.Context, tx Tx, events ...leat.Event) error
}

// An OutboxDatabase is what TestOutbox needs to know of a database, and a log.
type OutboxDatabase[Tx any] struct {
	// Open returns the outbox in the database, as another process would open it.
	Open func(t testing.TB) Outbox[Tx]

	// Transact runs f in a transaction as a service does, again if the database
	// asks for that.
	Transact func(ctx context.Context, f func(ctx context.Context, tx Tx) error) error

	// Next adds one to a number that is kept for a key, and returns it: the
	// service's own change.
	Next func(ctx context.Context, tx Tx, key string) (int, error)

	// To is a new log.
	To leat.Log
}

// TestOutbox proves what service.Outbox promises, together with the Relay.
// create returns a new, empty database and a new log.
func TestOutbox[Tx any](t *testing.T, create func(t testing.TB) OutboxDatabase[Tx]) {
	checks := []struct {
		name  string
		check func(*office[Tx])
	}{
		{"what is committed is recorded as it was put", (*office[Tx]).recorded},
		{"what is rolled back is not recorded", (*office[Tx]).rolledBack},
		{"what cannot be recorded is not put", (*office[Tx]).invalid},
		{"who listens is woken", (*office[Tx]).woken},
		{"one relay works at a time", (*office[Tx]).held},
		{"large events are taken few at a time", (*office[Tx]).large},
		{"streams are passed over", (*office[Tx]).except},
		{"lost answers repeat nothing", (*office[Tx]).lost},
		{"the order of a stream is that of its commits", (*office[Tx]).order},
		{"a refused event holds up its stream alone", (*office[Tx]).refused},
		{"a retry goes on in order", (*office[Tx]).retried},
		{"discarding lets the next event through", (*office[Tx]).discarded},
		{"settling twice does no harm", (*office[Tx]).settled},
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			db := create(t)
			c.check(&office[Tx]{T: t, OutboxDatabase: db, outbox: db.Open(t)})
		})
	}
}

const (
	relay    = "relay/v1"
	relayTTL = time.Second
)

// An office is where one check works.
type office[Tx any] struct {
	*testing.T
	OutboxDatabase[Tx]
	outbox Outbox[Tx]
}

func happened(stream, id, data string) leat.Event {
	return leat.Event{ID: id, Stream: stream, Type: "Happened", Source: "test", Data: []byte(data)}
}

func (o *office[Tx]) ok(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office[Tx]) put(events ...leat.Event) {
	o.Helper()
	o.ok(o.Transact(o.Context(), func(ctx context.Context, tx Tx) error { return o.outbox.Put(ctx, tx, events...) }))
}

// start runs a relay until what it returns is called.
func (o *office[Tx]) start(outbox service.Outbox, log leat.Log) (stop func()) {
	app, err := service.NewApp(service.Config{
		Log: log, Logger: slog.New(slog.DiscardHandler), Retry: service.Retry{First: time.Millisecond, Most: 10 * time.Millisecond}, LeaseTTL: relayTTL,
	}, service.Relay{Name: relay, Outbox: outbox})
	if err != nil {
		o.Error(err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(o.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	return func() {
		o.Helper()
		cancel()
		if err := <-ended; err != nil {
			o.Errorf("the relay ended: %v", err)
		}
	}
}

// history returns the events of the log, as STREAM:DATA.
func (o *office[Tx]) history() (all []string) {
	o.Helper()
	for r, err := range leat.Read(o.Context(), o.To, leat.Filter{}, leat.Checkpoint{}) {
		o.ok(err)
		all = append(all, r.Stream+":"+string(r.Data))
	}
	return all
}

// until waits until a condition holds.
func (o *office[Tx]) until(what string, holds func() bool) {
	o.Helper()
	for began := time.Now(); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			o.Fatalf("after a minute it does not hold that %s; the log has %q", what, o.history())
		}
	}
}

// relayed lets a relay work until the log has these events, in any order of
// streams, and the outbox holds no others that wait.
func (o *office[Tx]) relayed(want ...string) {
	o.Helper()
	stop := o.start(o.outbox, o.To)
	o.until("the log has all events", func() bool { return len(o.history()) >= len(want) })
	o.until("nothing waits", o.nothingWaits)
	stop()
	got := o.history()
	byStream := func(a, b string) int {
		a, _, _ = strings.Cut(a, ":")
		b, _, _ = strings.Cut(b, ":")
		return strings.Compare(a, b)
	}
	slices.SortStableFunc(got, byStream)
	slices.SortStableFunc(want, byStream)
	if !slices.Equal(got, want) {
		o.Fatalf("the log has %q, want %q", got, want)
	}
}

func (o *office[Tx]) nothingWaits() bool {
	events, err := o.outbox.Take(o.Context(), relay, "probe", relayTTL, 1, nil)
	if errors.Is(err, leat.ErrHeld) {
		return false
	}
	o.ok(err)
	o.ok(o.outbox.Release(o.Context(), "probe"))
	due, err := o.outbox.Due(o.Context(), relay)
	o.ok(err)
	return len(events) == 0 && len(due) == 0
}

func (o *office[Tx]) recorded() {
	events := []leat.Event{
		{Stream: "a\x00-\\1", ID: "id\x00\\", Type: "Ünïcode", Source: "'\";--", ContentType: "text/plain", Data: []byte{0, 0xff, '\\'},
			Time: time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.UTC), Meta: leat.NewMeta("a", "\x00ü", "traceparent", "x")},
		{Stream: "b-1", Type: "Happened", Source: "test"},
	}
	before := time.Now()
	o.put(events...)
	if events[1].ID == "" || !events[1].Time.IsZero() {
		o.Errorf("put made of the caller's event %+v, want it to have an ID and to be left alone otherwise", events[1])
	}
	stop := o.start(o.outbox, o.To)
	o.until("the log has all events", func() bool { return len(o.history()) == len(events) })
	stop()
	for _, want := range events {
		for r, err := range o.To.ReadStream(o.Context(), want.Stream, leat.Range{}) {
			o.ok(err)
			got := r.Event
			if want.Time.IsZero() {
				if got.Time.Before(before.Add(-time.Second)) || got.Time.After(r.At.Add(time.Second)) {
					o.Errorf("%s happened at %v, want the time of Put", want.Stream, got.Time)
				}
				got.Time = time.Time{}
				want.ContentType = leat.DefaultContentType
			}
			if !bytes.Equal(got.Data, want.Data) {
				o.Errorf("data is %q, want %q", got.Data, want.Data)
			}
			got.Data, want.Data = nil, nil
			if !reflect.DeepEqual(got, want) {
				o.Errorf("recorded is %+v, want %+v", got, want)
			}
		}
	}
}

func (o *office[Tx]) rolledBack() {
	err := o.Transact(o.Context(), func(ctx context.Context, tx Tx) error {
		o.ok(o.outbox.Put(ctx, tx, happened("a-1", "", "undone")))
		return errRefused
	})
	if !errors.Is(err, errRefused) {
		o.Fatalf("a transaction that fails: %v", err)
	}
	o.put(happened("a-1", "", "done"))
	o.put()
	o.relayed("a-1:done")
}

func (o *office[Tx]) invalid() {
	for name, e := range map[string]leat.Event{
		"no stream": {Type: "Happened", Source: "test"}, "no type": {Stream: "a-1", Source: "test"}, "no source": {Stream: "a-1", Type: "Happened"},
		"the system's": happened("$log", "", ""), "bad meta": {Stream: "a-1", Type: "Happened", Source: "test", Meta: leat.Meta{{Key: "Ü"}}},
	} {
		err := o.Transact(o.Context(), func(ctx context.Context, tx Tx) error {
			return o.outbox.Put(ctx, tx, happened("a-1", "", "good"), e)
		})
		if !errors.Is(err, leat.ErrInvalid) {
			o.Errorf("an event with %s: %v, want ErrInvalid", name, err)
		}
	}
	if !o.nothingWaits() {
		o.Error("something was put")
	}
}

func (o *office[Tx]) woken() {
	ctx, cancel := context.WithCancel(o.Context())
	wakes := make(chan struct{}, 100)
	ended := make(chan error, 1)
	go func() { ended <- o.outbox.Listen(ctx, func() { wakes <- struct{}{} }) }()
	<-wakes // it has begun
	o.put(happened("a-1", "", "1"))
	<-wakes
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		o.Errorf("a listener whose context ends: %v", err)
	}
}

func (o *office[Tx]) held() {
	take := func(outbox Outbox[Tx], owner string, ttl time.Duration) ([]service.Outgoing, error) {
		return outbox.Take(o.Context(), relay, owner, ttl, 10, nil)
	}
	other := o.Open(o)
	if events, err := take(other, "b", time.Hour); err != nil || len(events) > 0 {
		o.Fatalf("an empty outbox gives %v, %v", events, err)
	}
	o.put(happened("a-1", "", "1"), happened("b-1", "", "1"))
	for range 2 { // as often as it likes
		if events, err := take(o.outbox, "a", time.Hour); err != nil || len(events) != 2 {
			o.Fatalf("the first to take gets %v, %v; want both events", events, err)
		}
	}
	if _, err := take(other, "b", time.Hour); !errors.Is(err, leat.ErrHeld) {
		o.Fatalf("another: %v, want ErrHeld", err)
	}
	o.ok(other.Release(o.Context(), "b")) // not b's
	if _, err := take(other, "b", time.Hour); !errors.Is(err, leat.ErrHeld) {
		o.Fatalf("another that released nothing: %v, want ErrHeld", err)
	}
	o.ok(o.outbox.Release(o.Context(), "a"))
	if events, err := take(other, "b", time.Millisecond); err != nil || len(events) != 2 {
		o.Fatalf("another after a release: %v, %v; want both events", events, err)
	}
	o.until("a hold expires", func() bool {
		_, err := take(o.outbox, "a", time.Hour)
		return err == nil
	})
	// As a hold that was taken before the clock was set back by most of an hour.
	if _, err := take(other, "b", time.Minute); err != nil {
		o.Fatalf("another, for less than what is left of a hold: %v, want it to get the outbox", err)
	}
	if _, err := take(o.outbox, "a", time.Hour); !errors.Is(err, leat.ErrHeld) {
		o.Fatalf("the first, which has lost it: %v, want ErrHeld", err)
	}
}

func (o *office[Tx]) large() {
	const n = 5
	data := strings.Repeat("x", service.OutboxBytes/2-1)
	for i := range n {
		o.put(happened("a-1", strconv.Itoa(i), data))
	}
	for want := n; want > 0; {
		events, err := o.outbox.Take(o.Context(), relay, "a", time.Hour, 10, nil)
		o.ok(err)
		if len(events) == 0 || len(events) > 3 {
			o.Fatalf("%d events of %d bytes are taken at once", len(events), len(data))
		}
		s := service.Settlement{Name: relay}
		for _, e := range events {
			if e.ID != strconv.Itoa(n-want) {
				o.Fatalf("taken is %s, want %d", e.ID, n-want)
			}
			s.Sent = append(s.Sent, e.Number)
			want--
		}
		o.ok(o.outbox.Settle(o.Context(), s))
	}
}

func (o *office[Tx]) except() {
	odd := "a\x00'-\\1"
	o.put(happened(odd, "1", ""), happened("b-1", "2", ""), happened(odd, "3", ""), happened("c-1", "4", ""), happened("b-1", "5", ""))
	takes := func(except []string, want ...string) {
		o.Helper()
		events, err := o.outbox.Take(o.Context(), relay, "a", time.Hour, 2, except)
		o.ok(err)
		var got []string
		for _, e := range events {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) {
			o.Fatalf("taken but those of %q: %q, want %q", except, got, want)
		}
	}
	takes(nil, "1", "2")
	takes([]string{odd}, "2", "4")
	takes([]string{"b-1", odd}, "4")
	takes([]string{"b-1", "c-1", odd})
	takes([]string{}, "1", "2")
}
