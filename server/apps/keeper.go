package apps

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// Bounds of what a keeper remembers.
const (
	maxApps   = 1000    // applications, paused ones included
	maxShards = 200_000 // of all workers of all applications together, a worker itself counting as one
	maxPast   = 16      // workers of one application that are gone or have ended

	remember = time.Hour // for which workers that are gone or have ended are shown
)

// A Keeper is a [leat.Reporter]. It is safe for concurrent use.
type Keeper struct {
	clock func() time.Time
	log   Log
	path  string // of the file of what is paused; empty when there is none

	saving sync.Mutex // held by who changes what is paused

	mu     sync.Mutex
	apps   map[string]*app
	shards int // entries of all workers
}

// Log is what a Keeper has to know of its log.
type Log interface {
	Shards(ctx context.Context) ([]leat.Shard, error)
}

// An app is an application.
type app struct {
	paused  bool
	workers map[string]*worker // by owner
	total   leat.Tally         // of all workers that ever were, as long as the keeper remembers the application
}

// A worker is what a worker told last.
type worker struct {
	leat.AppStatus
	first   time.Time // when it told something for the first time
	at      time.Time // and for the last time
	expires time.Time
}

var _ leat.Reporter = (*Keeper)(nil)

// Open returns a Keeper for a log that keeps what is paused in a file, which
// need not be there. Only one Keeper may use a file at a time. A nil clock is
// time.Now.
func Open(path string, log Log, clock func() time.Time) (*Keeper, error) {
	k := New(log, clock)
	paused, err := readPaused(path)
	if err != nil {
		return nil, err
	}
	k.path = path
	for _, name := range paused {
		k.apps[name] = &app{paused: true, workers: make(map[string]*worker)}
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
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	var paused []string
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
	size := 1 + len(s.Shards)
	if known != nil {
		size -= 1 + len(known.Shards)
	}
	if err := k.room(now, a == nil, size); err != nil {
		return nil, err
	}
	if a = k.apps[s.Name]; a == nil { // making room may have forgotten it
		a = &app{workers: make(map[string]*worker)}
		k.apps[s.Name] = a
	}
	if known = a.workers[s.Owner]; known == nil {
		known = &worker{first: now}
	} else {
		k.shards -= 1 + len(known.Shards)
	}
	a.total = a.total.Plus(since(known.Tally, s.Tally))
	s.Shards = slices.Clone(s.Shards)
	s.Sum()
	a.workers[s.Owner] = &worker{AppStatus: s, first: known.first, at: now, expires: now.Add(ttl)}
	k.shards += 1 + len(s.Shards)
	k.forgetPast(a, now)
	return a, nil
}

// instanceOf returns what stays of an owner's name when the process starts
// again.
func instanceOf(owner string) string {
	if i := strings.LastIndexByte(owner, '/'); i > 0 {
		return owner[:i]
	}
	return owner
}

// forgetPast forgets workers of the past that nobody wants to see any more: those
// of long ago, all but the latest, and earlier lives of those that live again.
func (k *Keeper) forgetPast(a *app, now time.Time) {
	began := make(map[string]time.Time) // the latest life of each instance
	var past []*worker
	for _, w := range a.workers {
		if !w.alive(now) {
			past = append(past, w)
		}
		if i := instanceOf(w.Owner); w.first.After(began[i]) {
			began[i] = w.first
		}
	}
	slices.SortFunc(past, func(a, b *worker) int { return b.at.Compare(a.at) })
	for i, w := range past {
		if i >= maxPast || now.Sub(w.expires) > remember || began[instanceOf(w.Owner)].After(w.at) {
			k.forget(a, w.Owner)
		}
	}
}

func (k *Keeper) forget(a *app, owner string) {
	k.shards -= 1 + len(a.workers[owner].Shards)
	delete(a.workers, owner)
}

func (w *worker) alive(now time.Time) bool { return !w.Ended && now.Before(w.expires) }

// tidy forgets what nobody wants to see any more.
func (k *Keeper) tidy(now time.Time) {
	for name, a := range k.apps {
		k.forgetPast(a, now)
		if len(a.workers) == 0 && !a.paused {
			delete(k.apps, name)
		}
	}
}

// room makes room for more entries: when there is none it forgets all workers of
// the past.
func (k *Keeper) room(now time.Time, another bool, size int) error {
	fits := func() bool { return k.shards+size <= maxShards && (!another || len(k.apps) < maxApps) }
	if fits() {
		return nil
	}
	for _, a := range k.apps {
		for owner, w := range a.workers {
			if !w.alive(now) {
				k.forget(a, owner)
			}
		}
	}
	if k.tidy(now); fits() {
		return nil
	}
	return fmt.Errorf("%w for reports of more than %d applications and %d shards of all workers: wait until some are gone", leat.ErrFull, maxApps, maxShards)
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
// ended grows with the log.
func (k *Keeper) Apps(ctx context.Context) ([]leat.App, error) {
	shards, err := k.log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	k.tidy(now)
	apps := make([]leat.App, 0, len(k.apps))
	for _, name := range slices.Sorted(maps.Keys(k.apps)) {
		a := k.apps[name]
		app := leat.App{Name: name, Paused: a.paused}
		for _, owner := range slices.Sorted(maps.Keys(a.workers)) {
			w := a.workers[owner]
			told := leat.Worker{AppStatus: w.AppStatus, At: w.at, Gone: !w.Ended && !w.alive(now)}
			told.Shards = slices.Clone(w.Shards)
			if !told.Alive() {
				goOn(&told, shards)
			}
			app.Workers = append(app.Workers, told)
		}
		apps = append(apps, app)
	}
	return apps, nil
}

// goOn tells of a worker that tells no more how the log goes on without it. What
// it was done with when it was heard last has got older since.
func goOn(w *leat.Worker, shards []leat.Shard) {
	known := make(map[leat.ShardID]int, len(w.Shards))
	for i, s := range w.Shards {
		known[s.ID] = i
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

// Totals returns what all workers of each application did together. It never
// decreases as long as the application is known.
func (k *Keeper) Totals() map[string]leat.Tally {
	k.mu.Lock()
	defer k.mu.Unlock()
	totals := make(map[string]leat.Tally, len(k.apps))
	for name, a := range k.apps {
		totals[name] = a.total
	}
	return totals
}
