package service_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A mailer is a projection with a side effect: it counts what arrives, and notes
// which letters are due, which Then sends.
type mailer struct {
	service.Projection[*tx]
	model *servicetest.Memory

	mu    sync.Mutex
	sent  []string
	thens int
}

func newMailer(name string, model *servicetest.Memory) *mailer {
	m := &mailer{model: model}
	m.Projection = history(name, model)
	apply := m.Apply
	m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
		if !service.Replaying(ctx) {
			tx.Set("due", tx.Get("due")+fmt.Sprintf("%s@%d ", r.Stream, r.Version))
		}
		return apply(ctx, tx, r)
	}
	m.Then = func(context.Context) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.thens++
		m.sent = strings.Fields(model.Data()["due"])
		return nil
	}
	return m
}

// letters returns what was sent, and how often Then was called.
func (m *mailer) letters() (sent string, thens int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.sent, " "), m.thens
}

// A rebuild handles what there was when it began quietly, whatever happens to
// its process, and everything later as ever.
func TestRebuildIsQuietUntilItHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(4)})
		streams := []string{"a-1", "b-1", "c-1", "d-1", "e-1"}
		fill(t, log, repeated(300, streams...)...)
		model := servicetest.NewMemory()
		m := newMailer("stock/v2", model)
		m.Rebuild = true
		gate := make(chan struct{}, 100)
		apply := m.Apply
		m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if r.Version%100 == 0 {
				<-gate
			}
			return apply(ctx, tx, r)
		}
		app := start(t, log, m)
		synctest.Wait()
		fill(t, log, streams...) // version 301, recorded after it began
		time.Sleep(2 * time.Second)
		s := app.status()
		if s.Replay != 1500 || s.Lag != 1505 {
			t.Errorf("%d events left of %d, want 1500 of 1505", s.Replay, s.Lag)
		}
		_, thens := m.letters()
		want(t, "calls of Then", thens, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := app.app.WaitRebuilt(ctx, "stock/v2"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not yet") {
			t.Errorf("WaitRebuilt: %v, want the deadline and where it is", err)
		}
		for range 7 {
			gate <- struct{}{}
		}
		app.cancel()
		for range 20 {
			gate <- struct{}{}
		}
		ok(t, app.ended())

		m.Rebuild = false // begun as a rebuild, it stays one
		app = start(t, log, m)
		ok(t, app.app.WaitRebuilt(t.Context(), "stock/v2"))
		app.caughtUp()
		time.Sleep(2 * time.Second)
		sent, _ := m.letters()
		for _, stream := range streams {
			want(t, stream, model.Data()[stream], versions(301))
			want(t, "letters of "+stream, strings.Count(sent, stream), 1)
		}
		want(t, "left", app.status().Replay, uint64(0))
		want(t, "ETA", app.app.Status()[0].ETA(), time.Duration(0))
		fill(t, log, "a-1")
		app.caughtUp()
		if sent, _ = m.letters(); !strings.HasSuffix(sent, "a-1@302") {
			t.Errorf("sent %s, want the last letter, too", sent)
		}
		app.stop()
	})
}

// A fleet agrees on what is quiet while shards split and workers come and go.
func TestRebuildByAFleet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	upTo := func(most int, unit time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(rnd.IntN(most)) * unit
	}
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(3)})
		var streams []string
		for i := range 12 {
			streams = append(streams, fmt.Sprintf("s-%d", i))
		}
		fill(t, log, repeated(40, streams...)...)
		keeper, model := lease.New(nil), servicetest.NewMemory()
		m := newMailer("v2", model)
		m.Rebuild = true
		apply := m.Apply
		m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			time.Sleep(upTo(100, time.Millisecond))
			return apply(ctx, tx, r)
		}
		worker := func(name string) *running {
			return startWith(t, service.Config{Log: log, Leases: keeper, Instance: name, LeaseTTL: fleetTTL, Drain: time.Second}, m)
		}
		a, b := worker("a"), worker("b")
		synctest.Wait()
		fill(t, log, streams...)
		shards, err := log.Shards(t.Context())
		ok(t, err)
		_, err = log.Split(t.Context(), shards[1].ID, shards[1].Middle())
		ok(t, err)
		fill(t, log, streams...)
		time.Sleep(upTo(20, time.Second))
		a.stop()
		c := worker("c")
		ok(t, b.app.WaitRebuilt(t.Context(), "v2"))
		ok(t, c.app.WaitRebuilt(t.Context(), "v2"))
		b.caughtUp()
		time.Sleep(time.Minute)
		sent, _ := m.letters()
		for _, s := range streams {
			want(t, s, model.Data()[s], versions(42))
			want(t, "letters of "+s, fmt.Sprint(strings.Count(sent, s+"@41"), strings.Count(sent, s+"@42"), strings.Count(sent+" ", s+"@")), "1 1 2")
		}
		b.stop()
		c.stop()
	})
}

// What was parked of a rebuild is handled quietly also after its shard was split.
func TestParkedEventsOfARebuildStayQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(1)})
		fill(t, log, repeated(3, "a-1", "b-1")...)
		model := servicetest.NewMemory()
		m := newMailer("v2", model)
		m.Rebuild = true
		var mended atomic.Bool
		apply := m.Apply
		m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if r.Stream == "b-1" && !mended.Load() {
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		app := start(t, log, m)
		app.caughtUp()
		shards, err := log.Shards(t.Context())
		ok(t, err)
		_, err = log.Split(t.Context(), shards[0].ID, shards[0].Middle())
		ok(t, err)
		fill(t, log, "a-1", "b-1")
		app.caughtUp()
		mended.Store(true)
		ok(t, model.Retry(t.Context(), "v2", "b-1"))
		time.Sleep(10 * time.Second)
		want(t, "b-1", model.Data()["b-1"], versions(4))
		sent, _ := m.letters()
		want(t, "sent", sent, "a-1@4 b-1@4")
		app.stop()
	})
}

// An application that runs already does not become a rebuild.
func TestRebuildOfWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		m := newMailer("h", model)
		app := start(t, log, m)
		synctest.Wait()
		app.stop()
		fill(t, log, "a-1")
		m.Rebuild = true
		app = start(t, log, m)
		ok(t, app.app.WaitRebuilt(t.Context(), "h"))
		app.caughtUp()
		sent, _ := m.letters()
		want(t, "sent", sent, "a-1@1")
		app.stop()
	})
}

func TestRebuiltReactorAnswersWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		fill(t, log, repeated(2000, "a-1", "b-1")...)
		w := newWitness(t)
		r := w.reactor(4)
		r.Rebuild = true
		app := start(t, log, r)
		app.caughtUp()
		fill(t, log, "a-1", "b-1")
		app.caughtUp()
		want(t, "a-1", w.of("a-1"), "2001")
		want(t, "b-1", w.of("b-1"), "2001")
		want(t, "skipped", app.status().Skipped, uint64(4000))
		app.stop()
	})
}

// What a restore did not keep of a rebuild's history is to come, not past.
func TestRebuildOfARestoredLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{ID: "L"})
		fill(t, log, repeated(10, "a-1")...)
		model := servicetest.NewMemory()
		m := newMailer("h", model)
		m.Rebuild = true
		apply := m.Apply
		m.Apply = func(context.Context, *tx, leat.Recorded) error { return errAway }
		app := start(t, log, m)
		synctest.Wait() // it has begun
		app.stop()
		m.Apply = apply

		kept := map[leat.ShardID]uint64{leat.ShardNumber(0): 4}
		restored := newLog(t, leat.Config{ID: "L", Ended: []leat.Epoch{{Number: 1, Heads: kept}}})
		fill(t, restored, repeated(10, "a-1")...)
		app = start(t, restored, m)
		app.caughtUp()
		sent, _ := m.letters()
		want(t, "sent", sent, "a-1@5 a-1@6 a-1@7 a-1@8 a-1@9 a-1@10")
		app.stop()
	})
}
