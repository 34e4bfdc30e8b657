package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/lease"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestResetOfAProjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		model := servicetest.NewMemory()
		m := newMailer("h", model)
		broken := true
		apply := m.Apply
		m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if broken && r.Stream == "b-1" && r.Version > 1 {
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, repeated(3, "a-1", "b-1", "c-1")...)
		app := start(t, log, m)
		app.caughtUp()
		app.stop()
		before, thens := m.letters()

		empty := func(_ context.Context, tx *tx) error {
			for _, key := range []string{"a-1", "b-1", "c-1", "due"} {
				tx.Set(key, "")
			}
			return nil
		}
		ok(t, model.Discard(t.Context(), "h", "b-1", 2, "a test"))
		if err := m.Reset(t.Context(), leat.Checkpoint{}, func(context.Context, *tx) error { return errBroken }); !errors.Is(err, errBroken) {
			t.Errorf("Reset: %v, want the error of empty", err)
		}
		want(t, "after a reset that failed", model.Data()["a-1"], versions(3))
		want(t, "parked", parkedList(t, model, "h"), "b-1@2:broken*1!a test b-1@3:*0")
		ok(t, m.Reset(t.Context(), leat.Checkpoint{}, empty))
		want(t, "parked", parkedList(t, model, "h"), "b-1@2:broken*1!a test")
		want(t, "emptied", model.Data()["a-1"], "")

		broken = false
		app = start(t, log, m)
		ok(t, app.app.WaitRebuilt(t.Context(), "h"))
		app.caughtUp()
		time.Sleep(2 * time.Second)
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(3))
		}
		want(t, "due again", model.Data()["due"], "")
		if _, again := m.letters(); again <= thens {
			t.Errorf("Then was not called after the reset; %s was sent before", before)
		}
		fill(t, log, "a-1")
		app.caughtUp()
		sent, _ := m.letters()
		want(t, "sent", sent, "a-1@4")

		// A process that runs it, alone, ends.
		ok(t, m.Reset(t.Context(), leat.Checkpoint{}, empty))
		app.endsWith(leat.ErrFenced)

		var to leat.Checkpoint
		to.Log = "another"
		if err := m.Reset(t.Context(), to, empty); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Reset to a checkpoint of another log: %v", err)
		}
		if err := m.Reset(t.Context(), leat.Checkpoint{}, nil); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Reset that empties nothing: %v", err)
		}
	})
}

// A fleet that runs what is reset, against all advice, starts over from there,
// also when no event comes to fence it.
func TestResetBeneathAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{Shards: leat.EvenShards(2)})
		fill(t, log, repeated(3, "a-1", "b-1", "c-1")...)
		shards, err := log.Shards(t.Context())
		ok(t, err)
		_, err = log.Split(t.Context(), shards[0].ID, shards[0].Middle())
		ok(t, err)
		keeper, model := lease.New(nil), servicetest.NewMemory()
		h := history("h", model)
		worker := func(name string) *running {
			return startWith(t, service.Config{Log: log, Leases: keeper, Instance: name, LeaseTTL: fleetTTL}, h)
		}
		a, b := worker("a"), worker("b")
		a.caughtUp()
		time.Sleep(time.Minute)
		ok(t, h.Reset(t.Context(), leat.Checkpoint{}, func(_ context.Context, tx *tx) error {
			for _, key := range []string{"a-1", "b-1", "c-1"} {
				tx.Set(key, "")
			}
			return nil
		}))
		time.Sleep(time.Minute)
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(3))
		}
		a.stop()
		b.stop()
	})
}

func TestResetOfAReactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		w := newWitness(t)
		w.handle = func(_ context.Context, r leat.Recorded) error {
			if r.Stream == "b-1" && r.Version == 1 {
				return service.Permanent(errBroken)
			}
			return nil
		}
		last := fill(t, log, repeated(3, "a-1", "b-1")...)
		r := w.reactor(2)

		// Before it has begun it can be told where to begin.
		if err := r.Reset(t.Context(), leat.Checkpoint{Seqs: map[leat.ShardID]uint64{last.Shard: 2}}); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("Reset of what has not begun, without a log: %v", err)
		}
		ok(t, r.Reset(t.Context(), leat.Checkpoint{}))
		app := start(t, log, r)
		app.caughtUp()
		app.stop()
		want(t, "parked", parkedList(t, w.checked, "w"), "b-1@1:broken*1 b-1@2:*0 b-1@3:*0")

		to := leat.Checkpoint{Seqs: map[leat.ShardID]uint64{last.Shard: 3}} // a-1@1, b-1@1, a-1@2
		ok(t, r.Reset(t.Context(), to))
		want(t, "parked", parkedList(t, w.checked, "w"), "b-1@1:broken*1")
		app = start(t, log, r)
		app.caughtUp()
		app.stop()
		want(t, "a-1", w.of("a-1"), versions(3)+" 3")
		want(t, "parked", parkedList(t, w.checked, "w"), "b-1@1:broken*1 b-1@2:*0 b-1@3:*0")
	})
}

// Nobody can move on while an application is reset: the checkpoint is the fence,
// also of a shard that it does not have yet.
func TestResetIsFenced(t *testing.T) {
	log := newLog(t, leat.Config{})
	fill(t, log, "a-1", "a-1")
	at := leat.Checkpoint{Log: "L", Epoch: 1, Seqs: map[leat.ShardID]uint64{leat.ShardNumber(0): 1}}
	only := func(shard int, seq uint64) leat.Checkpoint {
		return leat.Checkpoint{Log: "L", Epoch: 1, Seqs: map[leat.ShardID]uint64{leat.ShardNumber(shard): seq}}
	}
	for name, other := range map[string]service.Step{
		"moves on":                {Name: "w", From: at, To: only(0, 2)},
		"begins with a new shard": {Name: "w", From: only(1, 0), To: only(1, 5)},
	} {
		model := &flaky{Memory: servicetest.NewMemory()}
		r := service.Reactor{Name: "w", Checkpoints: model, React: func(context.Context, leat.Recorded) error { return nil }}
		ok(t, model.Save(t.Context(), service.Step{Name: "w", To: at}))
		model.before = func(int) error { // another process does so at this very moment
			return model.Memory.Save(context.Background(), other)
		}
		if err := r.Reset(t.Context(), leat.Checkpoint{}); !errors.Is(err, leat.ErrFenced) || !strings.Contains(err.Error(), `reset "w"`) {
			t.Errorf("Reset while another %s: %v, want ErrFenced", name, err)
		}
	}
}

// A reset that fails has had no effect: what is parked is not taken for a part of
// a rebuild.
func TestResetThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		m := newMailer("h", model)
		broken := true
		apply := m.Apply
		m.Apply = func(ctx context.Context, tx *tx, r leat.Recorded) error {
			if broken {
				return service.Permanent(errBroken)
			}
			return apply(ctx, tx, r)
		}
		fill(t, log, "a-1")
		app := start(t, log, m)
		app.caughtUp()
		app.stop()
		if err := m.Reset(t.Context(), leat.Checkpoint{}, func(context.Context, *tx) error { return errAway }); !errors.Is(err, errAway) {
			t.Errorf("Reset: %v, want the error of empty", err)
		}
		broken = false
		ok(t, model.Retry(t.Context(), "h", "a-1"))
		app = start(t, log, m)
		time.Sleep(time.Minute)
		app.stop()
		sent, _ := m.letters()
		want(t, "sent", sent, "a-1@1")
	})
}

// Who is at work on a shard that has no checkpoint yet is fenced by the shard that
// it was split from: that is to be handled again, and first.
func TestResetBeneathTheFirstStepInAShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		fill(t, log, repeated(3, "a-1")...)
		shards, err := log.Shards(t.Context())
		ok(t, err)
		for range 2 { // the shard between has no event
			_, err = log.Split(t.Context(), shardOf(t, log, "a-1"), shards[0].Middle())
			ok(t, err)
			shards = allShards(t, log)
			shards[0] = shards[leat.OpenShard(shards, leat.RouteHash("a-1"))]
		}
		fill(t, log, "a-1")
		w := newWitness(t)
		begun, goOn := make(chan struct{}), make(chan struct{})
		w.handle = func(_ context.Context, r leat.Recorded) error {
			if r.Version == 4 {
				close(begun)
				<-goOn
			}
			return nil
		}
		r := w.reactor(2)
		app := start(t, log, r)
		<-begun
		time.Sleep(time.Minute)
		ok(t, r.Reset(t.Context(), leat.Checkpoint{}))
		close(goOn)
		time.Sleep(time.Minute)
		want(t, "saved of the last shard", w.saved().Seqs[shardOf(t, log, "a-1")], uint64(0))
		app.cancel()
		app.endsWith(leat.ErrFenced)
	})
}
