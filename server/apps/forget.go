package apps

import (
	"fmt"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// Bounds of what a keeper remembers.
const (
	maxApps   = 1000    // applications of which workers told
	maxPaused = 1000    // applications that are paused
	maxShards = 200_000 // of all workers of all applications together, a worker itself counting as one
	maxPast   = 16      // workers of one application that are gone or have ended for long

	lately       = 5 * time.Minute     // for which all workers that are gone or have ended are shown
	remember     = time.Hour           // for which the latest maxPast of them are
	rememberApps = 30 * 24 * time.Hour // for which an application is shown of which no worker tells any more
)

// size is how much there is to remember.
func (w *worker) size() int {
	if w == nil {
		return 0
	}
	return 1 + len(w.Shards)
}

func (w *worker) alive(now time.Time) bool { return !w.Ended && now.Before(w.expires) }

// forgetPast forgets workers of the past that nobody wants to see any more: those
// of long ago, all but the latest, and earlier lives of those that live again.
func (k *Keeper) forgetPast(a *app, now time.Time) {
	began := make(map[string]time.Time) // the latest life of each instance
	var past []*worker
	for _, w := range a.workers {
		if !w.alive(now) {
			past = append(past, w)
		}
		if i := w.Instance(); w.first.After(began[i]) {
			began[i] = w.first
		}
	}
	slices.SortFunc(past, func(a, b *worker) int { return b.at.Compare(a.at) })
	var useless []*worker
	for i, w := range past {
		silent := now.Sub(w.expires)
		if silent > remember || i >= maxPast && silent > lately || began[w.Instance()].After(w.at) {
			useless = append(useless, w)
		}
	}
	k.forget(a, useless)
}

// forget forgets workers, and remembers of them how far the application was.
func (k *Keeper) forget(a *app, workers []*worker) {
	if len(workers) == 0 {
		return
	}
	k.shards -= a.last.size()
	a.last = a.record()
	k.shards += a.last.size()
	for _, w := range workers {
		k.shards -= w.size()
		delete(a.workers, w.Owner)
	}
}

// record returns what all workers told together, as if the one that was heard last
// had; nil when there was none.
func (a *app) record() *worker {
	if !a.heard() {
		return nil
	}
	var all leat.App
	latest := a.last
	if latest != nil {
		all.Workers = append(all.Workers, leat.Worker{AppStatus: latest.AppStatus, At: latest.at, Gone: true})
	}
	for _, w := range a.workers { // of a shard, one that held it when it was heard last is right
		told := leat.Worker{AppStatus: w.AppStatus, At: w.at}
		told.Ended = false
		all.Workers = append(all.Workers, told)
		if latest == nil || w.at.After(latest.at) {
			latest = w
		}
	}
	s := all.Status()
	for i := range s.Shards {
		s.Shards[i].Held = false
	}
	s.Name, s.Owner, s.Ended, s.Paused = latest.Name, latest.Owner, latest.Ended, false
	s.Tally, s.Rate = leat.Tally{}, 0
	return &worker{AppStatus: s, first: latest.first, at: latest.at, expires: latest.at}
}

// tidy forgets what nobody wants to see any more.
func (k *Keeper) tidy(now time.Time) {
	for name, a := range k.apps {
		k.forgetPast(a, now)
		if a.last != nil && len(a.workers) == 0 && now.Sub(a.last.at) > rememberApps {
			k.drop(a)
		}
		if !a.heard() && !a.paused {
			delete(k.apps, name)
		}
	}
}

// drop forgets all that workers told of an application.
func (k *Keeper) drop(a *app) {
	for owner, w := range a.workers {
		k.shards -= w.size()
		delete(a.workers, owner)
	}
	k.shards -= a.last.size()
	a.last = nil
}

// room makes room for more entries: when there is none it forgets all workers of
// the past, and then the applications that have no other.
func (k *Keeper) room(now time.Time, another bool, size int) error {
	fits := func() bool { return k.shards+size <= maxShards && (!another || k.count((*app).heard) < maxApps) }
	if fits() {
		return nil
	}
	for _, a := range k.apps {
		var past []*worker
		for _, w := range a.workers {
			if !w.alive(now) {
				past = append(past, w)
			}
		}
		k.forget(a, past)
	}
	if k.tidy(now); fits() {
		return nil
	}
	for _, a := range k.apps {
		if len(a.workers) == 0 {
			k.drop(a)
		}
	}
	if k.tidy(now); fits() {
		return nil
	}
	return fmt.Errorf("%w for reports of more than %d applications and %d shards of all workers: wait until some are gone", leat.ErrFull, maxApps, maxShards)
}

// count returns how many applications are so.
func (k *Keeper) count(so func(*app) bool) int {
	n := 0
	for _, a := range k.apps {
		if so(a) {
			n++
		}
	}
	return n
}
