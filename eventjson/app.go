package eventjson

import (
	"time"

	"github.com/leathq/leat"
)

// An App is an application that reads a log.
type App struct {
	Name    string     `json:"name"`
	Paused  bool       `json:"paused" doc:"Its workers stand still until it is resumed."`
	Status  *AppStatus `json:"status,omitempty" doc:"All workers together; left out as long as none has reported."`
	Shards  []AppShard `json:"shards"`
	Workers []Worker   `json:"workers" doc:"Sorted by owner; those that are gone or have ended are shown for a while, and then one that stands for all."`
}

// A Worker is a process that works for an application.
type Worker struct {
	Owner    string         `json:"owner" doc:"As in leases."`
	State    string         `json:"state" enum:"running,paused,ended,gone" doc:"Gone: it should have reported since, and did not."`
	Reported time.Time      `json:"reported" doc:"When it was heard of last, by the server's clock."`
	Holds    []leat.ShardID `json:"holds" doc:"The shards that it works on."`
	Status   AppStatus      `json:"status"`
}

// An AppStatus tells how an application fares.
type AppStatus struct {
	Lag       uint64    `json:"lag" doc:"Events that it is not yet done with, whether its filter selects them or not."`
	Behind    float64   `json:"behind_seconds" doc:"How long ago the oldest of them was recorded."`
	Rate      float64   `json:"rate" doc:"Events a second that it got done with lately."`
	Replay    uint64    `json:"replay,omitempty" doc:"Events that a rebuild still has to go through before it has caught up."`
	ETA       float64   `json:"eta_seconds" doc:"How long the rebuild, or else the lag, takes at this rate; -1 when nothing moves."`
	Waiting   uint64    `json:"waiting" doc:"Parked events that wait."`
	Counts    Tally     `json:"counts" doc:"Since the workers began."`
	LastError string    `json:"last_error,omitempty" doc:"Of the last attempt that failed."`
	LastAt    time.Time `json:"last_error_at,omitzero"`
}

// An AppShard tells how far an application has got in a shard.
type AppShard struct {
	ID     leat.ShardID `json:"id"`
	Held   bool         `json:"held" doc:"A worker works on it."`
	Next   uint64       `json:"next" doc:"The last sequence that the application is done with."`
	Head   uint64       `json:"head" doc:"The last sequence of the shard."`
	Replay uint64       `json:"replay,omitempty" doc:"A rebuild goes quietly through the events up to this sequence."`
	Behind float64      `json:"behind_seconds" doc:"How long ago the oldest event was recorded that it is not done with."`
	Done   bool         `json:"done,omitempty" doc:"It is done with all of a closed shard."`
	Counts Tally        `json:"counts"`
}

// A Tally counts what was done with events.
type Tally struct {
	Seen      uint64 `json:"seen" doc:"Events that the filter let through."`
	Filtered  uint64 `json:"filtered" doc:"Events that it did not."`
	Handled   uint64 `json:"handled"`
	Skipped   uint64 `json:"skipped"`
	Forwarded uint64 `json:"forwarded"`
	Parked    uint64 `json:"parked"`
	Unparked  uint64 `json:"unparked" doc:"Parked events that were handled after all."`
	Failures  uint64 `json:"failures" doc:"Failed attempts of any kind."`
}

// FromApp returns the form of an application, as it is at a moment.
func FromApp(a *leat.App, now time.Time) App {
	all := a.Status()
	app := App{Name: a.Name, Paused: a.Paused, Shards: []AppShard{}, Workers: []Worker{}}
	if len(a.Workers) > 0 {
		s := fromAppStatus(&all, now)
		app.Status = &s
	}
	for _, s := range all.Shards {
		app.Shards = append(app.Shards, AppShard{
			ID: s.ID, Held: s.Held, Next: s.Next, Head: s.Head, Replay: s.Replay, Behind: s.Behind(now).Seconds(), Done: s.Closed,
			Counts: Tally(s.Tally),
		})
	}
	for i := range a.Workers {
		w := &a.Workers[i]
		worker := Worker{Owner: w.Owner, State: string(w.State()), Reported: w.At, Holds: []leat.ShardID{}, Status: fromAppStatus(&w.AppStatus, now)}
		for _, s := range w.Shards {
			if s.Held && w.Alive() {
				worker.Holds = append(worker.Holds, s.ID)
			}
		}
		app.Workers = append(app.Workers, worker)
	}
	return app
}

func fromAppStatus(s *leat.AppStatus, now time.Time) AppStatus {
	eta := s.ETA().Seconds()
	if eta < 0 {
		eta = -1
	}
	return AppStatus{
		Lag: s.Lag, Behind: s.Behind(now).Seconds(), Rate: s.Rate, Replay: s.Replay, ETA: eta, Waiting: s.Waiting,
		Counts: Tally(s.Tally), LastError: s.LastError, LastAt: s.LastAt,
	}
}
