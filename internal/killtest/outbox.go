//go:build unix

package killtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// An Office is a database with an outbox, in which a change of a stream adds one
// to its number and puts an event that has the number as its data.
type Office struct {
	// Env is what workers have in their environment to find it.
	Env []string

	// Numbers returns the number of each stream.
	Numbers func(ctx context.Context) (map[string]uint64, error)

	// Outbox is that of the database.
	Outbox service.Outbox

	// Troubles are what happens to it.
	Troubles []Trouble
}

// RunOutbox puts an outbox to the test: in the end the log has an event for each
// change that was committed, once and in order, and no other.
func RunOutbox(t *testing.T, o Office) {
	c := newCrew(t, taskOutbox, o.Env)
	recorded := func() (n uint64) {
		shards, err := c.log.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shards {
			n += s.Head
		}
		return n
	}
	c.state = func() string { return fmt.Sprintf("%d events are recorded", recorded()) }
	defer c.killAll()
	var since time.Time // the worker is stopped
	expired := func(*worker) bool {
		if since.IsZero() {
			since = time.Now()
		}
		gone := time.Since(since) > 2*leaseTTL
		if gone {
			since = time.Time{}
		}
		return gone
	}
	troubles, happened := c.troubles(expired, o.Troubles), make(map[string]int)
	for range *rounds {
		c.staff()
		want := recorded() + 20 + uint64(c.rnd.IntN(100))
		c.until("something is recorded", func() bool { return recorded() >= want })
		c.suffer(troubles, happened)
	}
	c.killAll()
	o.drain(c)
	o.audit(c)
	for name, n := range happened {
		t.Logf("%3d × %s", n, name)
	}
	t.Logf("%d events are recorded once", recorded())
}

// drain relays what the workers have left behind.
func (o *Office) drain(c *crew) {
	c.t.Helper()
	app, err := service.NewApp(service.Config{Log: c.log, Logger: slog.New(slog.DiscardHandler), LeaseTTL: leaseTTL},
		service.Relay{Name: relay, Outbox: o.Outbox})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	c.until("the outbox is empty", func() bool {
		events, err := o.Outbox.Take(c.t.Context(), relay, "probe", leaseTTL, 1, nil)
		return errors.Join(err, o.Outbox.Release(c.t.Context(), "probe")) == nil && len(events) == 0
	})
	cancel()
	if err := <-ended; err != nil {
		c.t.Error(err)
	}
	if parked, err := o.Outbox.Parked(c.t.Context(), relay, ""); err != nil || len(parked) > 0 {
		c.t.Errorf("parked are %+v, %v; want none", parked, err)
	}
}

// audit compares the numbers with the log.
func (o *Office) audit(c *crew) {
	c.t.Helper()
	numbers, err := o.Numbers(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	events := make(map[string]uint64) // of each stream
	for r, err := range leat.Read(c.t.Context(), c.log, leat.Filter{System: true}, leat.Checkpoint{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		events[r.Stream]++
		if n := strconv.FormatUint(events[r.Stream], 10); string(r.Data) != n {
			c.t.Errorf("event %s of %s is that of change %s", n, r.Stream, r.Data)
		}
	}
	if !maps.Equal(events, numbers) {
		c.t.Errorf("the log has events %v for changes %v", events, numbers)
	}
}
