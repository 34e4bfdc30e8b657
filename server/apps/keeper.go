package apps

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A Keeper is a [leat.Reporter]. It is safe for concurrent use.
type Keeper struct {
	clock func() time.Time
	log   Log
	path  string // of the file; empty when there is none

	saving sync.Mutex // held by who changes what is paused, and by who saves

	mu     sync.Mutex
	apps   map[string]*app
	shards int       // entries of all workers
	saved  time.Time // when the file was written, or that was tried
}

// Log is what a Keeper has to know of its log.
type Log interface {
	Shards(ctx context.Context) ([]leat.Shard, error)
}

// An app is an application.
type app struct {
	paused  bool
	workers map[string]*worker // by owner
	last    *worker            // what all that were forgotten told together, as if one had; nil when there is none
	total   leat.Tally         // of all workers, since the keeper was opened
}

func newApp() *app { return &app{workers: make(map[string]*worker)} }

// heard reports whether a worker ever told of it.
func (a *app) heard() bool { return len(a.workers) > 0 || a.last != nil }

// A worker is what a worker told last.
type worker struct {
	leat.AppStatus
	first   time.Time // when it told something for the first time
	at      time.Time // and for the last time
	expires time.Time
}

var _ leat.Reporter = (*Keeper)(nil)

// Open returns a Keeper for a log that keeps in a file, which need not be there,
// which applications there are, how far each was, and which are paused. Only one
// Keeper may use a file at a time. A nil clock is time.Now.
func Open(path string, log Log, clock func() time.Time) (*Keeper, error) {
	k := New(log, clock)
	was, err := readRecords(path)
	if err != nil {
		return nil, err
	}
	k.path = path
	for _, name := range was.Paused {
		k.apps[name] = newApp()
		k.apps[name].paused = true
	}
	for _, r := range was.Apps {
		if k.apps[r.Name] == nil {
			k.apps[r.Name] = newApp()
		}
		k.apps[r.Name].last = r.worker()
		k.shards += r.worker().size()
	}
	return k, nil
}

// New returns a Keeper without a file, for tests and logs in memory. A nil clock
// is time.Now.
func New(log Log, clock func() time.Time) *Keeper {
	if clock == nil {
		clock = time.Now
	}
	return &Keeper{clock: clock, log: log, apps: make(map[string]*app)}
}

// Report implements leat.Reporter.
func (k *Keeper) Report(ctx context.Context, status []leat.AppStatus, ttl time.Duration) ([]string, error) {
	if err := leat.CheckReport(status, ttl); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	paused, err := k.takeAll(status, ttl)
	if err == nil {
		k.saveSometimes()
	}
	return paused, err
}

// takeAll takes in what a worker tells, and returns which of the applications are
// paused.
func (k *Keeper) takeAll(status []leat.AppStatus, ttl time.Duration) (paused []string, _ error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	for i := range status {
		a, err := k.take(status[i], now, ttl)
		if err != nil {
			return nil, err
		}
		if a.paused {
			paused = append(paused, status[i].Name)
		}
	}
	return paused, nil
}

// take takes in what a worker tells of one application.
func (k *Keeper) take(s leat.AppStatus, now time.Time, ttl time.Duration) (*app, error) {
	a := k.apps[s.Name]
	var known *worker
	if a != nil {
		known = a.workers[s.Owner]
	}
	is := &worker{AppStatus: s, first: now, at: now, expires: now.Add(ttl)}
	if err := k.room(now, a == nil || !a.heard(), is.size()-known.size()); err != nil {
		return nil, err
	}
	if a = k.apps[s.Name]; a == nil { // making room may have forgotten it
		a = newApp()
		k.apps[s.Name] = a
	}
	if known = a.workers[s.Owner]; known != nil {
		is.first = known.first
		a.total = a.total.Plus(since(known.Tally, s.Tally))
	} // else nobody knows since when it counts: only what comes is counted here
	is.Shards = slices.Clone(s.Shards)
	is.Sum()
	a.workers[s.Owner] = is
	k.shards += is.size() - known.size()
	k.forgetPast(a, now)
	return a, nil
}

// since returns what a worker did since an earlier report.
func since(was, is leat.Tally) leat.Tally {
	less := func(is, was uint64) uint64 { return is - min(is, was) }
	return leat.Tally{
		Seen: less(is.Seen, was.Seen), Filtered: less(is.Filtered, was.Filtered), Handled: less(is.Handled, was.Handled),
		Skipped: less(is.Skipped, was.Skipped), Forwarded: less(is.Forwarded, was.Forwarded), Parked: less(is.Parked, was.Parked),
		Unparked: less(is.Unparked, was.Unparked), Failures: less(is.Failures, was.Failures),
	}
}

// Apps implements leat.Reporter. What workers lag behind that are gone or have
// ended grows with the log. An application of which no worker is remembered is
// told of by one that stands for all.
func (k *Keeper) Apps(ctx context.Context) ([]leat.App, error) {
	shards, err := k.log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	apps, last := k.told()
	for i := range apps {
		for j := range apps[i].Workers {
			if w := &apps[i].Workers[j]; !w.Alive() {
				goOn(w, shards, last[apps[i].Name])
			}
		}
	}
	return apps, nil
}

// told returns what workers told, and of each application what the forgotten ones
// did. The shards are not to be changed: reports share them.
func (k *Keeper) told() (apps []leat.App, last map[string]*worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	k.tidy(now)
	last = make(map[string]*worker)
	for _, name := range slices.Sorted(maps.Keys(k.apps)) {
		a := k.apps[name]
		app := leat.App{Name: name, Paused: a.paused}
		for _, owner := range slices.Sorted(maps.Keys(a.workers)) {
			w := a.workers[owner]
			app.Workers = append(app.Workers, leat.Worker{AppStatus: w.AppStatus, At: w.at, Gone: !w.Ended && !w.alive(now)})
		}
		if a.last != nil {
			last[name] = a.last
			if len(app.Workers) == 0 {
				app.Workers = []leat.Worker{{AppStatus: a.last.AppStatus, At: a.last.at, Gone: !a.last.Ended}}
			}
		}
		apps = append(apps, app)
	}
	return apps, last
}

// goOn tells of a worker that tells no more how the log goes on without it. What
// it was done with when it was heard last has got older since. Of shards that it
// never told of, last may know more.
func goOn(w *leat.Worker, shards []leat.Shard, last *worker) {
	w.Shards = slices.Clone(w.Shards)
	known := make(map[leat.ShardID]int, len(w.Shards))
	for i, s := range w.Shards {
		known[s.ID] = i
	}
	if last != nil {
		for _, s := range last.Shards {
			if _, ok := known[s.ID]; !ok {
				known[s.ID] = len(w.Shards)
				w.Shards = append(w.Shards, s)
			}
		}
	}
	for _, s := range shards {
		i, ok := known[s.ID]
		if !ok {
			i = len(w.Shards)
			w.Shards = append(w.Shards, leat.ShardStatus{ID: s.ID})
		}
		is := &w.Shards[i]
		is.Head = max(is.Head, s.Head)
		if is.Oldest.IsZero() && is.Lag() > 0 {
			is.Oldest = w.At
		}
	}
	slices.SortFunc(w.Shards, func(a, b leat.ShardStatus) int { return cmp.Compare(a.ID, b.ID) })
	w.Rate = 0
	w.Sum()
}

// Totals returns what all workers of each application did together since the
// keeper was opened. What a worker did before it was heard of for the first time is
// not in it. It never decreases as long as the application is known.
func (k *Keeper) Totals() map[string]leat.Tally {
	k.mu.Lock()
	defer k.mu.Unlock()
	totals := make(map[string]leat.Tally, len(k.apps))
	for name, a := range k.apps {
		totals[name] = a.total
	}
	return totals
}
