package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// A Projection folds events into a service's own database: in the order of each
// shard, exactly once in effect. Tx is the database's transaction.
type Projection[Tx any] struct {
	// Name is the application's, under which its checkpoint is kept. A new name
	// such as "stock/v2" starts over.
	Name string

	// Filter selects the events.
	Filter leat.Filter

	// Apply writes what an event changes, in the transaction that also moves the
	// checkpoint. One transaction holds up to about 1,000 events. If it fails,
	// the transaction is rolled back, so Apply may see an event again; it must
	// do nothing that the transaction does not undo. A commit that fails is tried
	// for ever, unless the read model says that an event is to blame ([Late]).
	Apply func(ctx context.Context, tx Tx, r leat.Recorded) error

	// Into is the database.
	Into ReadModel[Tx]

	// Then, if set, is called after each commit that handled events and once at
	// the start. It acts on what the read model says is to be done: Apply writes
	// due commands into a table, Then carries them out and marks them done.
	// Since it runs again after a crash nothing is lost, and what it does must
	// be safe to repeat: give commands an ID. It is tried until it succeeds, and
	// the projection waits meanwhile; a Permanent error stops the App.
	Then func(ctx context.Context) error

	// Rebuild makes a projection that has not begun yet build up its read model
	// beside another one, whose side effects are done: Then is not called before
	// it has caught up, in all shards, with what was in the log when it began,
	// and Apply sees that it is Replaying. One that has begun already goes on as
	// it began. See App.WaitRebuilt, and Status for how far it is.
	Rebuild bool
}

func (p Projection[Tx]) validate() error {
	switch {
	case p.Into == nil:
		return unset("Projection", p.Name, "Into")
	case p.Apply == nil:
		return unset("Projection", p.Name, "Apply")
	}
	return validate("Projection", p.Name, p.Filter)
}

func (p Projection[Tx]) start(env env) ([]*fleet, []*relayRun) {
	turn := make(chan struct{}, 1)
	f := newFleet(env, p.Name, p.Into, func(w worker, s leat.Shard) run {
		return &projectionRun[Tx]{Projection: p, application: application{worker: w, store: p.Into, filter: p.Filter, shard: s}, turn: turn}
	})
	f.rebuild = p.Rebuild
	return []*fleet{f}, nil
}

// A projectionRun is a projection at work on a shard.
type projectionRun[Tx any] struct {
	Projection[Tx]
	application

	// turn is held by the shard that calls Apply or Then, so that they are called
	// one at a time in a process. (A database would let only one write anyway.)
	turn chan struct{}

	heldBack bool // Then is to be called when the rebuild has caught up
}

// inTurn calls f when it is this shard's turn.
func (p *projectionRun[Tx]) inTurn(stop context.Context, f func() error) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
		return f()
	case <-stop.Done():
		return stop.Err()
	}
}

func (p *projectionRun[Tx]) run(stop context.Context, at leat.Checkpoint) error {
	work, end := p.outlive(stop)
	defer end()
	if err := p.load(stop, work, at); err != nil {
		return unlessStopped(stop, err)
	}
	if err := p.inTurn(stop, func() error { return p.then(stop, work, p.at.Seqs[p.shard.ID]) }); err != nil {
		return unlessStopped(stop, err)
	}
	p.moved(p.shard.ID, p.at.Seqs[p.shard.ID], false)
	batches, wait := p.batches(stop)
	err := p.loop(stop, work, batches)
	return errors.Join(err, wait())
}

func (p *projectionRun[Tx]) loop(stop, work context.Context, batches <-chan leat.Batch) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		var err error
		select {
		case b, more := <-batches:
			if !more {
				return p.finish(work, nil)
			}
			err = p.inTurn(stop, func() error { return p.batch(stop, work, b) })
		case <-ticker.C:
			err = p.inTurn(stop, func() error { return p.tick(stop, work) })
		}
		switch {
		case err == nil:
		case stop.Err() == nil || fatal(err):
			return err
		default:
			return p.finish(work, nil)
		}
	}
}

// tick saves progress that had no events to commit it, and tries parked events.
func (p *projectionRun[Tx]) tick(stop, work context.Context) error {
	return p.insist(stop, "save checkpoint and try parked events", func() error {
		if err := p.save(work, nil); err != nil {
			return err
		}
		if p.heldBack {
			if err := p.then(stop, work, p.at.Seqs[p.shard.ID]); err != nil {
				return err
			}
		}
		if len(p.blocked) == 0 {
			return nil
		}
		return p.retryDue(stop, work, p.retryEvent, func(stream string) error {
			delete(p.blocked, stream)
			return p.then(stop, work, p.at.Seqs[p.shard.ID])
		})
	})
}

// retryEvent applies a parked event, and takes it off the list, in one
// transaction.
func (p *projectionRun[Tx]) retryEvent(ctx context.Context, r leat.Recorded, parked Parked) error {
	s := Step{Name: p.name, Done: []Parked{parked}}
	var failed error
	err := p.Into.Commit(ctx, s, func(ctx context.Context, tx Tx) error {
		if p.replays(&r) {
			ctx = replaying(ctx)
		}
		failed = guarded(func() error { return p.Apply(ctx, tx, r) })
		if errors.Is(failed, ErrSkipped) {
			failed = nil
		}
		return failed
	})
	if failed == nil && !isLate(err) {
		return Transient(err) // the database is to blame, not the event
	}
	return err
}

// batch applies a batch and moves the checkpoint past it.
func (p *projectionRun[Tx]) batch(stop, work context.Context, b leat.Batch) error {
	after := p.at.Seqs[b.Shard]
	if len(b.Events) > 0 {
		p.holdsOldest(b.Events[0].At)
		if err := p.events(stop, work, b.Events); err != nil {
			return err
		}
		if err := p.then(stop, work, b.Next); err != nil {
			return err
		}
	}
	if len(b.Events) == 0 || b.Next >= b.Head {
		p.holdsOldest(time.Time{})
	}
	p.passed(after, b.Next, len(b.Events))
	p.at.Set(b.Shard, b.Next)
	p.moved(b.Shard, b.Next, b.Closed)
	return nil
}

// events applies events of one shard in as few transactions as it can: one, or
// when an event fails, one for those before it and one for itself. When it is
// not known which one fails, it is looked for by halves.
func (p *projectionRun[Tx]) events(stop, work context.Context, events []leat.Recorded) error {
	for len(events) > 0 {
		bad, failed, err := p.commitEvents(stop, work, events)
		if err != nil || failed == nil {
			return err
		}
		if bad == unknown {
			half := len(events) / 2
			if err := p.events(stop, work, events[:half]); err != nil {
				return err
			}
			events = events[half:]
			continue
		}
		if err := p.events(stop, work, events[:bad]); err != nil {
			return err
		}
		if err := p.single(stop, work, events[bad], failed); err != nil {
			return err
		}
		events = events[bad+1:]
	}
	return nil
}

// unknown is the index of an event that fails when it is not known which it is.
const unknown = -1

// commitEvents applies events in one transaction. If one of them fails, nothing
// is committed, and it returns the event's index and error; the index is unknown
// when the database told the error late.
func (p *projectionRun[Tx]) commitEvents(stop, work context.Context, events []leat.Recorded) (bad int, failed, err error) {
	var skipped int
	var park []Parked
	for _, r := range events {
		if p.blocked[r.Stream] {
			park = append(park, parked(r, nil, 0))
		}
	}
	last := events[len(events)-1]
	err = p.insist(stop, "commit events", func() error {
		bad, skipped, failed = 0, 0, nil
		err := p.commit(work, last, park, func(ctx context.Context, tx Tx) error {
			quiet := replaying(ctx)
			for i, r := range events {
				if p.blocked[r.Stream] {
					continue
				}
				ctx := ctx
				if p.replays(&r) {
					ctx = quiet
				}
				err := guarded(func() error { return p.Apply(ctx, tx, r) })
				switch {
				case errors.Is(err, ErrSkipped):
					skipped++
				case err != nil:
					bad, failed = i, err
					return err
				}
			}
			return nil
		})
		switch {
		case isTransient(err):
			failed = nil // the database is to blame, not the event
			return err
		case isLate(err) && len(events) > 1:
			bad, failed = unknown, err
		case isLate(err):
			bad, failed = 0, err
		}
		if failed != nil {
			p.unsure = leat.Checkpoint{} // it was rolled back
		}
		if failed != nil && !fatal(failed) && work.Err() == nil {
			return nil // the event is to blame, not the database
		}
		return err
	})
	if err == nil && failed == nil {
		p.count(len(events), len(events)-skipped-len(park), skipped, len(park))
	}
	return bad, failed, err
}

// single tries an event that failed again, by itself, and parks it if that does
// not help. When it cannot even be parked, the database may be to blame for its
// failure too, so it is tried again first.
func (p *projectionRun[Tx]) single(stop, work context.Context, r leat.Recorded, failed error) error {
	p.holdsOldest(r.At)
	for attempts := 1; ; attempts++ {
		err := failed
		if isPermanent(failed) || attempts >= p.retry.Attempts {
			err = p.park(work, r, failed, attempts)
			if err == nil || fatal(err) {
				return err
			}
		}
		if err := p.again(stop, describe(r), attempts, err); err != nil {
			return err
		}
		if _, failed, err = p.commitEvents(stop, work, []leat.Recorded{r}); err != nil || failed == nil {
			return err
		}
	}
}

func (p *projectionRun[Tx]) park(work context.Context, r leat.Recorded, failed error, attempts int) error {
	err := p.commit(work, r, []Parked{parked(r, failed, attempts)}, func(context.Context, Tx) error { return nil })
	if err != nil {
		return fmt.Errorf("park event that failed (%w): %w", failed, err)
	}
	p.failed(failed)
	p.tellParked(r, failed, attempts)
	p.blocked[r.Stream] = true
	p.count(1, 0, 0, 1)
	return nil
}

// commit commits what f does and the step to last.
func (p *projectionRun[Tx]) commit(ctx context.Context, last leat.Recorded, park []Parked, f func(context.Context, Tx) error) error {
	to := p.at.Clone()
	to.Set(last.Shard, last.Seq)
	err := p.step(ctx, to, park, func(ctx context.Context, s Step) error { return p.Into.Commit(ctx, s, f) })
	if err == nil {
		p.at = to
	}
	return err
}

// then calls Then, unless it is held back by a rebuild. Of the shard everything
// up to a sequence is done.
func (p *projectionRun[Tx]) then(stop, work context.Context, upTo uint64) error {
	if p.Then == nil {
		return nil
	}
	if p.heldBack = p.rebuilds(p.shard.ID, upTo); p.heldBack {
		return nil
	}
	return p.insist(stop, "carry out what is to be done", func() error {
		return guarded(func() error { return p.Then(work) })
	})
}
