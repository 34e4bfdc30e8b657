package leat

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Reporter takes in how applications fare, so that people can see it in one
// place, and pauses them. It is an optional capability of a Log, one for each
// log. Its methods are safe for concurrent use.
type Reporter interface {
	// Report takes in how the applications of one worker fare. It replaces what
	// the same Owner told of the same Name before. A worker that does not report
	// again within ttl, MinTTL to MaxTTL, is gone. Report returns which of the
	// applications are paused: their workers are to stop working on them.
	Report(ctx context.Context, status []AppStatus, ttl time.Duration) (paused []string, err error)

	// Apps returns what was reported lately, sorted by name. Workers that are
	// gone or have ended are told of for a while.
	Apps(ctx context.Context) ([]App, error)

	// Pause pauses an application, whether it runs or not, until it is resumed.
	// Its workers learn of it when they report next. Doing what is done already
	// does nothing.
	Pause(ctx context.Context, app string) error

	// Resume ends a Pause.
	Resume(ctx context.Context, app string) error
}

// A Tally counts what a worker did with events.
type Tally struct {
	Seen      uint64 // events that the filter let through
	Filtered  uint64 // events that it did not
	Handled   uint64 // of those seen, by the handler
	Skipped   uint64 // passed over by the handler
	Forwarded uint64 // taken by the destination of a Forwarder
	Parked    uint64 // could not be handled, or wait behind one of their stream
	Unparked  uint64 // were parked and then handled
	Failures  uint64 // failed attempts of any kind
}

// Plus returns the sum of two tallies.
func (t Tally) Plus(o Tally) Tally {
	return Tally{
		t.Seen + o.Seen, t.Filtered + o.Filtered, t.Handled + o.Handled, t.Skipped + o.Skipped, t.Forwarded + o.Forwarded,
		t.Parked + o.Parked, t.Unparked + o.Unparked, t.Failures + o.Failures,
	}
}

// An AppStatus tells how an application fares, as one worker sees it.
type AppStatus struct {
	Name  string
	Owner string // the worker, as in leases

	Tally // of the worker, since it began

	Shards  []ShardStatus // in the order of their numbers
	Waiting uint64        // parked events that wait, whoever parked them, at most some seconds ago

	// Lag is how many events it is not yet done with, of all shards, whether the
	// filter selects them or not; Oldest is when the oldest of them was
	// recorded, zero when there is none or that is not known.
	Lag    uint64
	Oldest time.Time

	// Rate is how many events a second the worker got done with in the last
	// seconds, those included that the filter did not let through.
	Rate float64

	// Replay is how many events a rebuild still has to go through before it has
	// caught up with what there was when it began. It is 0 otherwise.
	Replay uint64

	Paused bool // it stands still until it is resumed
	Ended  bool // the worker has come to its end

	LastError string    // of the last attempt that failed; empty when none did
	LastAt    time.Time // when that was
}

// A ShardStatus tells how far an application has got in a shard.
type ShardStatus struct {
	ID   ShardID
	Held bool // the worker works on it

	Next   uint64    // last sequence it is done with
	Head   uint64    // last sequence of the shard, at most about a second ago
	Oldest time.Time // when the oldest event was recorded that it is not done with; zero as in AppStatus
	Replay uint64    // a rebuild goes quietly through the events up to this sequence
	Closed bool      // it is done with all of a closed shard

	Tally // of the worker, since it began
}

// Lag returns how many events it is not yet done with.
func (s ShardStatus) Lag() uint64 { return s.Head - min(s.Next, s.Head) }

// replays returns how many events a rebuild still has to go through.
func (s ShardStatus) replays() uint64 { return s.Replay - min(s.Next, s.Replay) }

// Behind returns how long ago the oldest event was recorded that the application
// is not done with: 0 when it has caught up.
func (s ShardStatus) Behind(now time.Time) time.Duration { return behind(s.Oldest, now) }

// Behind returns how long ago the oldest event was recorded that the application
// is not done with: 0 when it has caught up.
func (s *AppStatus) Behind(now time.Time) time.Duration { return behind(s.Oldest, now) }

func behind(oldest, now time.Time) time.Duration {
	if oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(oldest))
}

// Instance returns what stays of Owner when the process starts again: all before
// its last "/", or all of it when there is none.
func (s *AppStatus) Instance() string {
	if i := strings.LastIndexByte(s.Owner, '/'); i > 0 {
		return s.Owner[:i]
	}
	return s.Owner
}

// ETA returns how long a rebuild, or what the application lags behind if it is
// none, takes at its present rate: 0 when there is nothing to do, and less than
// 0 when there is and nothing moves.
func (s *AppStatus) ETA() time.Duration {
	left := cmp.Or(s.Replay, s.Lag)
	switch {
	case left == 0:
		return 0
	case s.Rate <= 0:
		return -1
	}
	return time.Duration(min(float64(left)/s.Rate*1e9, 1e18))
}

// Sum sets Lag, Oldest and Replay to what Shards say.
func (s *AppStatus) Sum() {
	s.Lag, s.Replay, s.Oldest = 0, 0, time.Time{}
	for i := range s.Shards {
		shard := &s.Shards[i]
		s.Lag += shard.Lag()
		s.Replay += shard.replays()
		if o := shard.Oldest; !o.IsZero() && (s.Oldest.IsZero() || o.Before(s.Oldest)) {
			s.Oldest = o
		}
	}
}

// An App is an application as its workers tell of it.
type App struct {
	Name    string
	Paused  bool // asked for with Reporter.Pause
	Workers []Worker
}

// A Worker is what one process told of an application.
type Worker struct {
	AppStatus

	At   time.Time // when it told this last, by the reporter's clock
	Gone bool      // it should have told more by now
}

// Alive reports whether the worker is at work as far as is known.
func (w *Worker) Alive() bool { return !w.Gone && !w.Ended }

// A WorkerState says in one word what a worker is doing.
type WorkerState string

// States of a Worker.
const (
	WorkerRunning WorkerState = "running"
	WorkerPaused  WorkerState = "paused" // it stands still until it is resumed
	WorkerEnded   WorkerState = "ended"  // it said that it has come to its end
	WorkerGone    WorkerState = "gone"   // it should have told more by now, and did not
)

// State returns what the worker is doing, as far as is known.
func (w *Worker) State() WorkerState {
	switch {
	case w.Ended:
		return WorkerEnded
	case w.Gone:
		return WorkerGone
	case w.Paused:
		return WorkerPaused
	}
	return WorkerRunning
}

// Status puts together what the workers tell: how far the application has got,
// and what all of them did. Of a shard it believes the worker that holds it, and
// if there is none, the one that saw it furthest.
func (a *App) Status() AppStatus {
	all := AppStatus{Name: a.Name, Paused: a.Paused}
	shards := make(map[ShardID]ShardStatus)
	var alive bool
	var told time.Time // by the last one, of Waiting
	for i := range a.Workers {
		w := &a.Workers[i]
		all.Tally = all.Tally.Plus(w.Tally)
		switch {
		case w.Alive():
			if !alive {
				alive, all.Waiting = true, 0
			}
			all.Rate += w.Rate
			all.Waiting = max(all.Waiting, w.Waiting) // of the same store, by each of them
		case !alive && w.At.After(told):
			told, all.Waiting = w.At, w.Waiting
		}
		if w.LastAt.After(all.LastAt) {
			all.LastError, all.LastAt = w.LastError, w.LastAt
		}
		for _, s := range w.Shards {
			s.Held = s.Held && w.Alive()
			if known, ok := shards[s.ID]; ok {
				s = mergeShards(known, s)
			}
			shards[s.ID] = s
		}
	}
	for _, s := range shards {
		all.Shards = append(all.Shards, s)
	}
	slices.SortFunc(all.Shards, func(a, b ShardStatus) int { return cmp.Compare(a.ID, b.ID) })
	all.Sum()
	return all
}

// mergeShards puts together what two workers tell of a shard.
func mergeShards(a, b ShardStatus) ShardStatus {
	if b.Held && !a.Held || b.Held == a.Held && b.Next > a.Next {
		a, b = b, a
	}
	a.Tally = a.Tally.Plus(b.Tally)
	a.Head, a.Replay = max(a.Head, b.Head), max(a.Replay, b.Replay)
	a.Closed = a.Closed || b.Closed
	return a
}

// Bounds of a report.
const (
	MaxReportApps   = 256     // applications of one worker
	MaxReportShards = 4096    // shards of one application
	MaxReportError  = 1 << 10 // bytes of LastError
)

const maxRate = 1e12 // events a second: sums of it stay numbers

// CheckReport does what Reporter.Report does first, for those who implement it:
// it returns an [*InvalidError] if an argument is out of bounds.
func CheckReport(status []AppStatus, ttl time.Duration) error {
	if len(status) > MaxReportApps {
		return &InvalidError{Field: "status", Limit: fmt.Sprintf("at most %d applications", MaxReportApps), Got: fmt.Sprint(len(status))}
	}
	for i := range status {
		s := &status[i]
		if err := CheckMember(s.Name, s.Owner, ttl); err != nil {
			return err
		}
		if len(s.Shards) > MaxReportShards {
			return &InvalidError{Field: "shards", Limit: fmt.Sprintf("at most %d", MaxReportShards), Got: fmt.Sprint(len(s.Shards))}
		}
		if len(s.LastError) > MaxReportError {
			return &InvalidError{Field: "lasterror", Limit: fmt.Sprintf("at most %d bytes", MaxReportError), Got: fmt.Sprintf("%d bytes", len(s.LastError))}
		}
		if !(s.Rate >= 0 && s.Rate <= maxRate) { // also when it is no number
			return &InvalidError{Field: "rate", Limit: fmt.Sprintf("0 to %g", maxRate), Got: fmt.Sprint(s.Rate)}
		}
		known := make(map[ShardID]bool, len(s.Shards))
		for _, shard := range s.Shards {
			if !shardID(shard.ID) || known[shard.ID] {
				return &InvalidError{Field: "shards", Limit: `shard IDs such as "` + string(ShardNumber(0)) + `", each once`, Got: brief(string(shard.ID))}
			}
			known[shard.ID] = true
		}
	}
	return nil
}
