package tolog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/tolog"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(t *testing.T, shards int) *leattest.Log {
	t.Helper()
	log, err := leattest.New(leat.Config{Shards: leat.EvenShards(shards)}, time.Now)
	ok(t, err)
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func fill(t *testing.T, log leat.Log, streams ...string) {
	t.Helper()
	for _, s := range streams {
		_, err := log.Append(t.Context(), []leat.Event{{Stream: s, Type: "Received", Source: "test", Data: []byte(`{"units":1}`)}})
		ok(t, err)
	}
}

// all returns the events of a log, in order.
func all(t *testing.T, log leat.Log) (events []leat.Recorded) {
	t.Helper()
	for r, err := range leat.Read(t.Context(), log, leat.Filter{}, leat.Checkpoint{}) {
		ok(t, err)
		events = append(events, r)
	}
	return events
}

func id(t *testing.T, log leat.Log) string {
	t.Helper()
	info, err := log.Info(t.Context())
	ok(t, err)
	return info.ID
}

// start runs an App until stop is called, which returns what Run returned.
func start(t *testing.T, c service.Config, runners ...service.Runner) (app *service.App, stop func() error) {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	app, err := service.NewApp(c, runners...)
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	return app, sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// forwarded forwards all that is in a log now, and stops.
func forwarded(t *testing.T, log leat.Log, f service.Forwarder) service.Status {
	t.Helper()
	app, stop := start(t, service.Config{Log: log}, f)
	caughtUp(t, app, log)
	ok(t, stop())
	return app.Status()[0]
}

func caughtUp(t *testing.T, app *service.App, log leat.Log) {
	t.Helper()
	to, err := leat.Start(t.Context(), log, leat.Now)
	ok(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	ok(t, app.WaitCaughtUp(ctx, to))
}

func forwarder(to *tolog.Destination) service.Forwarder {
	return service.Forwarder{Name: "copy", To: to, Checkpoints: servicetest.NewMemory()}
}

// parked returns what a forwarder has parked: stream, version, and why.
func parked(t *testing.T, f service.Forwarder) string {
	t.Helper()
	events, err := f.Checkpoints.Parked(t.Context(), f.Name, "")
	ok(t, err)
	var lines []string
	for _, p := range events {
		lines = append(lines, fmt.Sprintf("%s@%d: %s", p.Stream, p.Version, p.Error))
	}
	return strings.Join(lines, "\n")
}

func TestCopiesAreWhatWasRecordedAndSayWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newLog(t, 2), newLog(t, 3)
		events := []leat.Event{
			{ID: "1", Stream: "a-{k}", Type: "T", Source: "s", Time: time.Unix(5, 7).UTC(), ContentType: "text/plain", Data: []byte("x\x00y"), Meta: leat.NewMeta("key", "value", "zz", "")},
			{ID: "1", Stream: "b-{k}", Type: "U", Source: "s"},
			{ID: "2", Stream: "b-{k}", Type: "U", Source: "s"},
		}
		_, err := from.Append(t.Context(), events)
		ok(t, err)
		f := forwarder(&tolog.Destination{Log: to})
		want(t, "forwarded", forwarded(t, from, f).Forwarded, uint64(3))
		want(t, "parked", parked(t, f), "")

		sent, got := all(t, from), all(t, to)
		want(t, "events", len(got), 3)
		for i, e := range got {
			o := sent[i]
			if e.ID != o.ID || e.Stream != o.Stream || e.Type != o.Type || e.Source != o.Source || !e.Time.Equal(o.Time) || e.ContentType != o.ContentType || !bytes.Equal(e.Data, o.Data) {
				t.Errorf("%+v was copied as %+v", o.Event, e.Event)
			}
			meta := o.Meta.With("originlog", id(t, from)).With("originshard", string(o.Shard)).With("originseq", fmt.Sprint(o.Seq))
			want(t, "meta", fmt.Sprint(e.Meta), fmt.Sprint(meta))
		}

		again := forwarder(&tolog.Destination{Log: to}) // knows nothing of the first
		want(t, "sent again", forwarded(t, from, again).Forwarded, uint64(3))
		want(t, "parked", parked(t, again), "")
		want(t, "events", len(all(t, to)), 3)
	})
}

func TestALogIsNotForwardedToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, 1)
		fill(t, log, "a-1")
		app, err := service.NewApp(service.Config{Log: log, Logger: slog.New(slog.DiscardHandler)}, forwarder(&tolog.Destination{Log: log}))
		ok(t, err)
		err = app.Run(t.Context())
		if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), `application "copy"`) || !strings.Contains(err.Error(), "another log") {
			t.Errorf("Run: %v", err)
		}
		want(t, "events", len(all(t, log)), 1)
	})
}

// Three logs forward to each other in a ring, and one link goes back: each has each event once.
func TestEventsDoNotGoRoundInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*leattest.Log{newLog(t, 1), newLog(t, 2), newLog(t, 1)}
		homes := make(map[string]string)
		for i, log := range logs {
			homes[id(t, log)] = fmt.Sprintf("home-%d", i)
			fill(t, log, fmt.Sprintf("home-%d", i), fmt.Sprintf("home-%d", i))
		}
		link := func(a, b int) (*service.App, leat.Log, service.Forwarder) {
			f := forwarder(&tolog.Destination{Log: logs[b]})
			app, stop := start(t, service.Config{Log: logs[a]}, f)
			t.Cleanup(func() { _ = stop() })
			return app, logs[a], f
		}
		for range 2 { // ring, and one link back
			for _, l := range [][2]int{{0, 1}, {1, 2}, {2, 0}, {1, 0}} {
				app, log, f := link(l[0], l[1])
				caughtUp(t, app, log)
				want(t, "parked", parked(t, f), "")
			}
		}
		time.Sleep(time.Minute)
		for i, log := range logs {
			events := all(t, log)
			want(t, fmt.Sprintf("events of log %d", i), len(events), 6)
			for _, e := range events {
				home, origin := e.Stream == fmt.Sprintf("home-%d", i), e.Meta.Get("originlog")
				if home != (origin == "") || !home && e.Stream != homes[origin] {
					t.Errorf("log %d has an event of %s from %q", i, e.Stream, origin)
				}
			}
		}
	})
}

// Producers write Meta, and so can keep an event out of a copy, unless they are
// kept from that.
func TestProducersNameAnOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newLog(t, 1), newLog(t, 1)
		_, err := from.Append(t.Context(), []leat.Event{{Stream: "a-1", Type: "T", Source: "s", Meta: leat.NewMeta(leat.MetaOriginLog, id(t, to))}})
		ok(t, err)
		f := forwarder(&tolog.Destination{Log: to})
		want(t, "skipped", forwarded(t, from, f).Skipped, uint64(1))

		f = forwarder(&tolog.Destination{Log: to})
		f.Transform = func(r leat.Recorded) (leat.Recorded, error) {
			r.Meta = r.Meta.With(leat.MetaOriginLog, "")
			return r, nil
		}
		want(t, "forwarded", forwarded(t, from, f).Forwarded, uint64(1))
		want(t, "origin of the copy", all(t, to)[0].Meta.Get(leat.MetaOriginLog), id(t, from))
	})
}

func TestWhatALogRefusesIsParkedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newLog(t, 1), newLog(t, 1)
		large := strings.Repeat("x", leat.MinLimits.EventBytes-60) // room for no more than its own fields
		for _, e := range []leat.Event{
			{ID: "1", Stream: "a-{k}", Type: "T", Source: "s"},
			{ID: "1", Stream: "b-{k}", Type: "T", Source: "s"},
			{ID: "2", Stream: "a-{k}", Type: "T", Source: "s", Data: []byte(large)},
			{ID: "2", Stream: "b-{k}", Type: "T", Source: "s"},
			{ID: "3", Stream: "a-{k}", Type: "T", Source: "s"},
			{ID: "1", Stream: "taken", Type: "T", Source: "s"},
			{ID: "1", Stream: "other", Type: "T", Source: "s"},
		} {
			_, err := from.Append(t.Context(), []leat.Event{e})
			ok(t, err)
		}
		_, err := to.Append(t.Context(), []leat.Event{{ID: "1", Stream: "taken", Type: "Other", Source: "s"}})
		ok(t, err)
		f := forwarder(&tolog.Destination{Log: to})
		want(t, "forwarded", forwarded(t, from, f).Forwarded, uint64(4))
		lines := strings.Split(parked(t, f), "\n")
		want(t, "parked", len(lines), 3)
		for i, start := range []string{"a-{k}@2: invalid events[0].size: must be at most", "a-{k}@3: ", `taken@1: event ID "1" of stream "taken"`} {
			if !strings.HasPrefix(lines[i], start) {
				t.Errorf("parked: %s, want %s …", lines[i], start)
			}
		}
		want(t, "events", len(all(t, to)), 1+4)
	})
}

// A doubtful log fails some times in such a way that nobody knows whether the
// events are recorded, whatever else is wrong.
type doubtful struct {
	*leattest.Log
	left atomic.Int32 // of the times
}

func (d *doubtful) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	if d.left.Add(-1) >= 0 {
		return leat.Receipt{}, fmt.Errorf("%w: %w", leat.ErrUncertain, &leat.InvalidError{Field: "answer"})
	}
	return d.Log.Append(ctx, events, conds...)
}

func TestWhatMayBeRecordedIsNotParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newLog(t, 1), &doubtful{Log: newLog(t, 1)}
		fill(t, from, "a-1", "a-1", "b-1")
		to.left.Store(20)
		f := forwarder(&tolog.Destination{Log: to})
		want(t, "forwarded", forwarded(t, from, f).Forwarded, uint64(3))
		want(t, "parked", parked(t, f), "")
	})
}

func TestStreamsMayBeRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := newLog(t, 2), newLog(t, 2)
		fill(t, from, "a-1", "a-2", "a-1")
		f := forwarder(&tolog.Destination{Log: to, Stream: func(name string) string {
			if name == "a-2" {
				return "$no"
			}
			return "shop." + name
		}})
		forwarded(t, from, f)
		if why := parked(t, f); !strings.HasPrefix(why, "a-2@1: invalid events[0].stream") {
			t.Errorf("parked: %s", why)
		}
		var got []string
		for _, e := range all(t, to) {
			got = append(got, fmt.Sprintf("%s@%d from %s", e.Stream, e.Version, e.Meta.Get("originseq")))
		}
		want(t, "copies", len(got), 2)
		want(t, "a-1", all(t, to)[1].Stream, "shop.a-1")
	})
}

// A lossy log is reached over a bad network: appends fail before or after they
// are recorded.
type lossy struct {
	*leattest.Log
	mu   sync.Mutex
	rnd  *rand.Rand
	calm bool
}

func (l *lossy) below(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calm {
		return n - 1
	}
	return l.rnd.IntN(n)
}

var errLost = fmt.Errorf("connection lost: %w", leat.ErrUncertain)

func (l *lossy) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	time.Sleep(time.Duration(l.below(30)) * time.Millisecond)
	if l.below(8) == 0 {
		return leat.Receipt{}, errLost
	}
	// Some are recorded by themselves, as by an Append before that had less.
	if n := l.below(2 * len(events)); n < len(events) {
		if _, err := l.Log.Append(ctx, slices.Clone(events[:n+1])); err != nil {
			return leat.Receipt{}, err
		}
	}
	r, err := l.Log.Append(ctx, events, conds...)
	if err == nil && l.below(8) == 0 {
		return leat.Receipt{}, errLost
	}
	return r, err
}

// Workers come, go and are killed while both logs split and the one that is
// forwarded to loses calls and answers: each event is there once, in order.
func TestEachEventArrivesOnceInOrderUnderChurn(t *testing.T) {
	seed := rand.Uint64()
	for round := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed+round)
				}
			}()
			rnd := rand.New(rand.NewPCG(seed+round, 0))
			from := newLog(t, 2)
			to := &lossy{Log: newLog(t, 2), rnd: rand.New(rand.NewPCG(seed+round, 1))}
			keeper, store := lease.New(nil), servicetest.NewMemory()
			var streams []string
			for i := range 20 {
				streams = append(streams, fmt.Sprintf("s-%d{%d}", i, i%7))
			}
			type member struct {
				store *killable
				stop  func() error
				app   *service.App
			}
			join := func() member {
				s := &killable{CheckpointStore: store}
				f := service.Forwarder{Name: "copy", To: &tolog.Destination{Log: to}, Checkpoints: s}
				app, stop := start(t, service.Config{
					Log: from, Leases: keeper, LeaseTTL: 3 * time.Second, Drain: time.Second,
					Retry: service.Retry{Attempts: 1000, Most: time.Second},
				}, f)
				return member{s, stop, app}
			}
			members := []member{join()}
			split := func(log *leattest.Log) {
				shards, err := log.Shards(t.Context())
				ok(t, err)
				if s := shards[rnd.IntN(len(shards))]; !s.Closed {
					_, err := log.Split(t.Context(), s.ID, s.Middle())
					ok(t, err)
				}
			}
			total := 0
			for range 30 {
				switch rnd.IntN(6) {
				case 0, 1:
					members = append(members, join())
				case 2:
					if len(members) > 1 {
						m := members[0]
						members = members[1:]
						if rnd.IntN(2) == 0 {
							m.store.kill()
						}
						_ = m.stop()
					}
				case 3:
					split(from)
				case 4:
					split(to.Log)
				}
				for range rnd.IntN(60) {
					fill(t, from, streams[rnd.IntN(len(streams))])
					total++
				}
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			}
			to.mu.Lock()
			to.calm = true
			to.mu.Unlock()
			caughtUp(t, members[0].app, from)
			for _, m := range members {
				ok(t, m.stop())
			}
			got := all(t, to.Log)
			want(t, "events", len(got), total)
			for _, s := range streams {
				var a, b []string
				for r, err := range from.ReadStream(t.Context(), s, leat.Range{}) {
					ok(t, err)
					a = append(a, r.ID)
				}
				for r, err := range to.ReadStream(t.Context(), s, leat.Range{}) {
					ok(t, err)
					b = append(b, r.ID)
				}
				if !slices.Equal(a, b) {
					t.Errorf("%s was recorded as %v, its copy is %v", s, a, b)
				}
			}
		})
	}
}

// killable is a store that a killed process cannot write to any more.
type killable struct {
	service.CheckpointStore
	mu   sync.Mutex
	dead bool
}

func (k *killable) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
}

func (k *killable) Save(ctx context.Context, s service.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return errors.New("killed")
	}
	return k.CheckpointStore.Save(ctx, s)
}
