package service_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A drawer is an outbox in memory.
type drawer struct {
	*servicetest.Memory
	hangs bool // Settle does not come back before its context ends

	mu     sync.Mutex
	events []service.Outgoing
	parked map[uint64]bool
}

func newDrawer() *drawer {
	return &drawer{Memory: servicetest.NewMemory(), parked: make(map[uint64]bool)}
}

// put puts one event into each of the streams.
func (d *drawer) put(streams ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range streams {
		d.events = append(d.events, service.Outgoing{
			Number: uint64(len(d.events) + 1),
			Event:  leat.Event{ID: fmt.Sprint(len(d.events) + 1), Stream: s, Type: "Happened", Source: "test", Time: time.Now()},
		})
	}
}

// park parks the first event of a stream, and has it tried again.
func (d *drawer) park(t *testing.T, relay, stream string) {
	t.Helper()
	i := slices.IndexFunc(d.events, func(e service.Outgoing) bool { return e.Stream == stream })
	d.parked[d.events[i].Number] = true
	p := service.Parked{Stream: stream, Version: d.events[i].Number, Error: "broken", Attempts: 1}
	ok(t, d.Save(t.Context(), service.Step{Name: relay, Park: []service.Parked{p}}))
	ok(t, d.Retry(t.Context(), relay, stream))
}

func (d *drawer) Take(ctx context.Context, name, _ string, _ time.Duration, limit int, except []string) (taken []service.Outgoing, err error) {
	waiting, err := d.Waiting(ctx, name)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if !d.parked[e.Number] && !slices.Contains(except, e.Stream) && len(taken) < limit {
			e.Behind = waiting[e.Stream] > 0
			taken = append(taken, e)
		}
	}
	return taken, err
}

func (d *drawer) Find(_ context.Context, number uint64) (service.Outgoing, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.events, func(e service.Outgoing) bool { return e.Number == number })
	if i < 0 {
		return service.Outgoing{}, false, nil
	}
	return d.events[i], true, nil
}

func (d *drawer) Settle(ctx context.Context, s service.Settlement) error {
	if d.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := d.Save(ctx, service.Step{Name: s.Name, Done: s.Done, Park: s.Park}); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range s.Park {
		d.parked[p.Version] = true
	}
	d.events = slices.DeleteFunc(d.events, func(e service.Outgoing) bool { return slices.Contains(s.Sent, e.Number) })
	return nil
}

func (*drawer) Release(context.Context, string) error { return nil }

func (*drawer) Listen(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// A choosy log does not take the events of some streams, for a reason that says
// nothing about them.
type choosy struct {
	leat.Log
	mu     sync.Mutex
	denied map[string]error
}

func (c *choosy) deny(err error, streams ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied = make(map[string]error)
	for _, s := range streams {
		c.denied[s] = err
	}
}

func (c *choosy) Append(ctx context.Context, events []leat.Event, conds ...leat.Condition) (leat.Receipt, error) {
	c.mu.Lock()
	err := c.denied[events[0].Stream]
	c.mu.Unlock()
	if err != nil {
		return leat.Receipt{}, err
	}
	return c.Log.Append(ctx, events, conds...)
}

func TestAppRunsARelayThatIsGivenByPointer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, d := newLog(t, leat.Config{}), newDrawer()
		app := start(t, log, &service.Relay{Name: "r", Outbox: d})
		d.put("a-1")
		time.Sleep(shortly)
		want(t, "recorded", types(t, log, "a-1"), "Happened")
		app.stop()
	})
}

// The log does not take some streams, and does not say that it never will: a
// parked event that is tried again, and one with more events than are taken at a
// time. All others go on, in order, and soon; and these when the log takes them.
func TestRelayPassesOverStreamsThatAreNotTaken(t *testing.T) {
	for _, reason := range []error{leat.ErrDenied, leat.ErrUnavailable, errBroken} {
		t.Run(reason.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, d := &choosy{Log: newLog(t, leat.Config{})}, newDrawer()
				log.deny(reason, "due-1", "many-1")
				d.put("due-1")
				d.park(t, "r", "due-1")
				d.put(repeated(1200, "many-1")...)
				d.put("a-1", "b-1", "a-1", "due-1")
				app := start(t, log, service.Relay{Name: "r", Outbox: d})
				time.Sleep(time.Minute)
				want(t, "a-1", types(t, log, "a-1"), "Happened Happened")
				want(t, "b-1", types(t, log, "b-1"), "Happened")
				d.put("c-1")
				time.Sleep(2 * time.Second)
				want(t, "c-1 soon", types(t, log, "c-1"), "Happened")
				want(t, "parked", parkedList(t, d, "r"), "due-1@1:broken*1")

				log.deny(nil)
				time.Sleep(time.Minute)
				want(t, "parked", parkedList(t, d, "r"), "")
				want(t, "due-1", types(t, log, "due-1"), "Happened Happened")
				var last uint64
				many := stream(t, log, "many-1")
				for _, e := range many {
					var id uint64
					_, err := fmt.Sscan(e.ID, &id)
					ok(t, err)
					if id <= last {
						t.Fatalf("event %d of many-1 comes after event %d", id, last)
					}
					last = id
				}
				want(t, "events of many-1", len(many), 1200)
				app.stop()
			})
		})
	}
}

// A database that hangs does not keep the App from ending.
func TestRelayEndsThoughItsDatabaseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, d := newLog(t, leat.Config{}), newDrawer()
		d.hangs = true
		d.put("a-1")
		app := start(t, log, service.Relay{Name: "r", Outbox: d})
		time.Sleep(shortly)
		want(t, "recorded", types(t, log, "a-1"), "Happened")
		began := time.Now()
		app.stop()
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("the App ended after %s, want at most its Drain, 10 s", took)
		}
	})
}
