package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// A Config says how an App runs. Log is needed.
type Config struct {
	Log    leat.Log
	Logger *slog.Logger // where retries and parked events are told; slog.Default() when nil
	Retry  Retry

	// Leases lets several processes share the work: each works on its part of the
	// shards of each application, and takes over those of a process that is
	// gone. Without it this process works on all shards, and must be the only
	// one. Whatever happens, a step that another process has taken is not taken
	// twice.
	Leases leat.Leases

	// Instance names this process in leases and messages; the host's name and
	// the process's number when empty. What is made of it is unique to one App.
	Instance string

	// LeaseTTL is how long the shards of a process that is gone stay without
	// work; 10 s when 0. Leases are renewed three times as often.
	LeaseTTL time.Duration

	// Reporter is told every 2 s how the applications fare, and says which are
	// paused; the Log when it is a leat.Reporter and this is nil. Without one
	// nobody is told. Nothing begins before it has answered, a minute at most.
	Reporter leat.Reporter

	// Drain is how long handlers that are at work when Run's context ends may go
	// on before their own context ends; 10 s when 0.
	Drain time.Duration
}

// An App runs applications (projections, reactors, processes, forwarders) and
// relays in one operating system process, by itself or as one of a fleet.
type App struct {
	config  Config
	fleets  []*fleet
	relays  []*relayRun
	started atomic.Bool
	ready   chan struct{} // closed when it is known what is paused
	ended   chan struct{} // closed when Run returns
}

// NewApp returns an App that runs the given applications, or a
// [*leat.InvalidError] that names the field which is wrong.
func NewApp(c Config, runners ...Runner) (*App, error) {
	if c.Log == nil {
		return nil, &leat.InvalidError{Field: "Config.Log", Limit: "set", Got: "nil"}
	}
	if len(runners) == 0 {
		return nil, &leat.InvalidError{Field: "runners", Limit: "at least one"}
	}
	if c.LeaseTTL != 0 && (c.LeaseTTL < leat.MinTTL || c.LeaseTTL > leat.MaxTTL) {
		return nil, &leat.InvalidError{Field: "Config.LeaseTTL", Limit: fmt.Sprintf("%s to %s", leat.MinTTL, leat.MaxTTL), Got: c.LeaseTTL.String()}
	}
	if len(c.Instance) > maxInstance {
		return nil, &leat.InvalidError{Field: "Config.Instance", Limit: fmt.Sprintf("at most %d bytes", maxInstance), Got: fmt.Sprintf("%d bytes", len(c.Instance))}
	}
	if c.Retry.Attempts < 0 || c.Retry.First < 0 || c.Retry.Most < 0 || c.Drain < 0 {
		return nil, &leat.InvalidError{Field: "Config.Retry and Config.Drain", Limit: "not negative"}
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Drain = cmp.Or(c.Drain, 10*time.Second)
	if r, ok := c.Log.(leat.Reporter); ok && c.Reporter == nil {
		c.Reporter = r
	}
	a := &App{config: c, ended: make(chan struct{}), ready: make(chan struct{})}
	names, categories := make(map[string]bool), make(map[string]bool)
	use := func(name string) error {
		if names[name] {
			return &leat.InvalidError{Field: "Name", Limit: "another for each application", Got: fmt.Sprintf("%q twice", name)}
		}
		names[name] = true
		return nil
	}
	env := env{
		log: c.Log, logger: c.Logger, retry: c.Retry.withDefaults(), drain: c.Drain,
		leases: c.Leases, owner: instance(c.Instance), ttl: cmp.Or(c.LeaseTTL, 10*time.Second),
		ready: a.ready,
	}
	for i, r := range runners {
		if r == nil {
			return nil, &leat.InvalidError{Field: fmt.Sprintf("runners[%d]", i), Limit: "set", Got: "nil"}
		}
		if err := r.validate(); err != nil {
			return nil, err
		}
		if p, ok := r.(interface{ category() string }); ok {
			if categories[p.category()] {
				return nil, &leat.InvalidError{Field: "Process.Category", Limit: "another for each process, since nobody else writes to its streams", Got: fmt.Sprintf("%q twice", p.category())}
			}
			categories[p.category()] = true
		}
		fleets, relays := r.start(env)
		for _, f := range fleets {
			if err := use(f.name); err != nil {
				return nil, err
			}
		}
		for _, r := range relays {
			if err := use(r.Name); err != nil {
				return nil, err
			}
		}
		a.fleets, a.relays = append(a.fleets, fleets...), append(a.relays, relays...)
	}
	return a, nil
}

// maxInstance leaves room for what makes an instance unique.
const maxInstance = leat.MaxNameBytes - 40

// instance returns a name that no other life of any process has.
func instance(name string) string {
	if name == "" {
		host, _ := os.Hostname() // one without a name is still unique
		name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	return name + "/" + leat.NewID()
}

// Run runs all applications until ctx ends; then it lets handlers that are at
// work finish, saves checkpoints and returns nil. When an application fails for
// good it stops all others in the same way and returns the error. That is when
// the log is closed (leat.ErrClosed) or does not hold what a checkpoint says
// (leat.ErrDiverged), when another process has moved a checkpoint though there
// are no leases (leat.ErrFenced), or when the log refuses what it is asked for. Run can be
// called once.
func (a *App) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return errors.New("run app: it has run already; make a new one")
	}
	defer close(a.ended)
	stop, cancel := context.WithCancel(ctx)
	defer cancel()

	var runs, watchers sync.WaitGroup
	var once sync.Once
	var failed error
	start := func(what string, run func(context.Context) error) {
		runs.Go(func() {
			if err := run(stop); err != nil {
				once.Do(func() { failed = fmt.Errorf("%s: %w", what, err) })
				cancel()
			}
		})
	}
	for _, f := range a.fleets {
		start(fmt.Sprintf("application %q", f.name), f.run)
	}
	for _, r := range a.relays {
		start(fmt.Sprintf("relay %q", r.Name), r.run)
	}
	watchers.Go(func() { a.watchHeads(stop) })
	if a.config.Reporter == nil {
		close(a.ready)
	} else {
		watchers.Go(func() { a.report(stop, a.ready) })
	}
	runs.Wait()
	cancel()
	watchers.Wait()
	if a.config.Reporter != nil {
		a.sayFarewell()
	}
	return failed
}

// watchHeads keeps the heads of the log in the ledgers, so that the lag is known
// also of what was not read yet.
func (a *App) watchHeads(stop context.Context) {
	for {
		shards, err := a.config.Log.Shards(stop)
		if err == nil {
			for _, r := range a.fleets {
				r.sawShards(shards)
				a.lookAhead(stop, r.ledger)
			}
		}
		if pause(stop, tick) != nil {
			return
		}
	}
}

// lookAhead looks at the events that nobody has in hand, to know how old they
// are.
func (a *App) lookAhead(stop context.Context, l *ledger) {
	for shard, after := range l.unseen() {
		b, err := a.config.Log.ReadShard(stop, shard, after, leat.ReadOptions{Limit: 1, Filter: leat.Filter{System: true}})
		if err != nil {
			return // whoever has to read it will tell
		}
		var at time.Time
		if len(b.Events) > 0 {
			at = b.Events[0].At
		}
		l.sawOldest(shard, after, at)
	}
}

// Status tells how each application fares, in the order given to NewApp.
func (a *App) Status() []Status {
	all := make([]Status, len(a.fleets))
	for i, r := range a.fleets {
		all[i] = r.snapshot()
	}
	return all
}

// errEnded is what those get who wait for an App that does not run any more.
var errEnded = errors.New("the app has ended")

// WaitCaughtUp waits until every application is done with all events up to a
// checkpoint, and Projection.Then has run after them. A parked event counts as
// done. It returns the error of ctx, saying who lags, or an error when Run has
// ended.
func (a *App) WaitCaughtUp(ctx context.Context, to leat.Checkpoint) error {
	for _, r := range a.fleets {
		if err := r.wait(ctx, to, a.ended); err != nil {
			return err
		}
	}
	return nil
}

// WaitFor waits until every application is done with the events of an Append.
// A read model then shows them.
func (a *App) WaitFor(ctx context.Context, r leat.Receipt) error {
	var to leat.Checkpoint
	to.Set(r.Shard, r.Last)
	return a.WaitCaughtUp(ctx, to)
}

// A Status tells how an application fares in this process. Counts are since Run
// began.
type Status = leat.AppStatus

// A ShardStatus tells how far an application has got in a shard.
type ShardStatus = leat.ShardStatus

// unset is the error of a field that has to be set.
func unset(kind, name, field string) error {
	return &leat.InvalidError{Field: fmt.Sprintf("%s %q: %s", kind, name, field), Limit: "set", Got: "nil"}
}

// validate checks what all applications have.
func validate(kind, name string, f leat.Filter) error {
	if name == "" || len(name) > leat.MaxNameBytes || strings.HasPrefix(name, own) {
		return &leat.InvalidError{
			Field: kind + ".Name", Limit: fmt.Sprintf("1 to %d bytes that do not begin with %q", leat.MaxNameBytes, own), Got: fmt.Sprintf("%q", name),
		}
	}
	for list, names := range map[string][]string{"Streams": f.Streams, "Categories": f.Categories, "Types": f.Types} {
		for _, n := range names {
			if n == "" || list == "Categories" && strings.Contains(n, "-") {
				return &leat.InvalidError{
					Field: fmt.Sprintf("%s %q: Filter.%s", kind, name, list), Limit: `names that can occur: not empty, a category without "-"`, Got: fmt.Sprintf("%q", n),
				}
			}
		}
	}
	return nil
}
