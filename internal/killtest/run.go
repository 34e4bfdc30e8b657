//go:build unix

package killtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Database is where the workers count.
type Database struct {
	// Env is what workers have in their environment to find it.
	Env []string

	// Counts returns how many events are counted for each stream. It may fail
	// while the database is away.
	Counts func(ctx context.Context) (map[string]uint64, error)

	// Parked returns what the workers have parked; it should be nothing.
	Parked func(ctx context.Context, name, stream string) ([]service.Parked, error)

	// Troubles are what happens to it.
	Troubles []Trouble
}

// Run puts workers to the test, for as many rounds as the flag -rounds says.
func Run(t *testing.T, db Database) {
	c := &campaign{crew: newCrew(t, taskCount, db.Env), db: db, appended: make(map[string]uint64)}
	c.state = func() string {
		counts, err := c.db.Counts(t.Context())
		return fmt.Sprintf("%d of %d events are counted, %v", sum(counts), c.sum(), err)
	}
	defer c.killAll()
	troubles, happened := c.troubles(c.lostLeases, db.Troubles), make(map[string]int)
	troubles = append(troubles, Trouble{"a worker is stopped within a transaction", c.stopWithin})
	for round := range *rounds {
		c.staff()
		before := c.total()
		c.append(50 + c.rnd.IntN(400))
		// Each round sees some work done, and some that is not.
		c.until("something is counted", func() bool { n := c.total(); return n > before || n == c.sum() })
		c.suffer(troubles, happened)
		if round%20 == 19 {
			c.audit()
		}
	}
	c.audit()
	for name, n := range happened {
		t.Logf("%3d × %s", n, name)
	}
	t.Logf("%d events are counted once", c.sum())
}

// stopWithin stops a worker within a transaction until it has lost its leases,
// if it gets anything to do.
func (c *campaign) stopWithin() {
	began := time.Now()
	c.append(200)
	c.stop(stopWithin, func(w *worker) bool { return c.lostLeases(w) || time.Since(began) > 5*leaseTTL })
}

// lostLeases reports whether a worker has no lease and is no member any more.
func (c *campaign) lostLeases(w *worker) bool {
	fleet, err := c.leases.Fleet(c.t.Context(), application)
	return err == nil && !slices.ContainsFunc(fleet.Members, func(m leat.Member) bool { return strings.HasPrefix(m.Owner, w.name+"/") }) &&
		!slices.ContainsFunc(fleet.Leases, func(l leat.Lease) bool { return strings.HasPrefix(l.Owner, w.name+"/") })
}

type campaign struct {
	*crew
	db       Database
	appended map[string]uint64 // events of each stream
}

// append appends events to random streams.
func (c *campaign) append(n int) {
	c.t.Helper()
	for range n {
		stream := streamName(c.rnd.IntN(streams))
		e := leat.Event{Stream: stream, Type: "Received", Source: "test", Data: []byte("1")}
		if _, err := c.log.Append(c.t.Context(), []leat.Event{e}); err != nil {
			c.t.Fatal(err)
		}
		c.appended[stream]++
	}
}

func sum(counts map[string]uint64) (n uint64) {
	for _, count := range counts {
		n += count
	}
	return n
}

func (c *campaign) sum() uint64 { return sum(c.appended) }

// counts returns what is counted, as soon as the database tells.
func (c *campaign) counts() (counts map[string]uint64) {
	c.t.Helper()
	c.until("the database answers", func() bool {
		var err error
		counts, err = c.db.Counts(c.t.Context())
		return err == nil
	})
	return counts
}

func (c *campaign) total() uint64 { return sum(c.counts()) }

// audit waits until everything is counted and the workers have ended, so that
// none counts anything again, and compares.
func (c *campaign) audit() {
	c.t.Helper()
	c.staff()
	c.until("all events are counted", func() bool { return c.total() >= c.sum() })
	c.dismiss()
	counts := c.counts()
	for stream, want := range c.appended {
		if counts[stream] != want {
			c.t.Errorf("%s is counted %d times and has %d events", stream, counts[stream], want)
		}
	}
	parked, err := c.db.Parked(c.t.Context(), application, "")
	if err != nil || len(parked) > 0 {
		c.t.Errorf("parked are %+v, %v; want none", parked, err)
	}
	if len(counts) != len(c.appended) {
		c.t.Errorf("%d streams are counted, the log has %d", len(counts), len(c.appended))
	}
}
