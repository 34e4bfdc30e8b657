package wire

import (
	"time"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// FromStatuses returns the messages of what a worker tells of applications.
func FromStatuses(all []leat.AppStatus) []*leatv1.AppStatus {
	out := make([]*leatv1.AppStatus, len(all))
	for i := range all {
		out[i] = fromStatus(&all[i])
	}
	return out
}

func fromStatus(s *leat.AppStatus) *leatv1.AppStatus {
	m := &leatv1.AppStatus{
		Name: s.Name, Owner: s.Owner, Tally: fromTally(s.Tally), Waiting: s.Waiting, Rate: s.Rate,
		Paused: s.Paused, Ended: s.Ended, LastError: s.LastError, LastAt: fromTime(s.LastAt),
		Shards: make([]*leatv1.ShardStatus, len(s.Shards)),
	}
	for i, shard := range s.Shards {
		m.Shards[i] = &leatv1.ShardStatus{
			Shard: string(shard.ID), Held: shard.Held, Next: shard.Next, Head: shard.Head, Oldest: fromTime(shard.Oldest),
			Replay: shard.Replay, Closed: shard.Closed, Tally: fromTally(shard.Tally),
		}
	}
	return m
}

// Statuses returns what messages tell of applications.
func Statuses(in []*leatv1.AppStatus) []leat.AppStatus {
	out := make([]leat.AppStatus, len(in))
	for i, m := range in {
		out[i] = appStatus(m)
	}
	return out
}

// appStatus returns the zero status when there is no message.
func appStatus(m *leatv1.AppStatus) leat.AppStatus {
	if m == nil {
		return leat.AppStatus{}
	}
	s := leat.AppStatus{
		Name: m.GetName(), Owner: m.GetOwner(), Tally: tally(m.GetTally()), Waiting: m.GetWaiting(), Rate: m.GetRate(),
		Paused: m.GetPaused(), Ended: m.GetEnded(), LastError: m.GetLastError(), LastAt: toTime(m.LastAt),
		Shards: make([]leat.ShardStatus, len(m.GetShards())),
	}
	for i, shard := range m.GetShards() {
		s.Shards[i] = leat.ShardStatus{
			ID: leat.ShardID(shard.GetShard()), Held: shard.GetHeld(), Next: shard.GetNext(), Head: shard.GetHead(),
			Oldest: toTime(shard.Oldest), Replay: shard.GetReplay(), Closed: shard.GetClosed(), Tally: tally(shard.GetTally()),
		}
	}
	s.Sum()
	return s
}

func fromTally(t leat.Tally) *leatv1.Tally {
	return &leatv1.Tally{
		Seen: t.Seen, Filtered: t.Filtered, Handled: t.Handled, Skipped: t.Skipped, Forwarded: t.Forwarded,
		Parked: t.Parked, Unparked: t.Unparked, Failures: t.Failures,
	}
}

func tally(m *leatv1.Tally) leat.Tally {
	return leat.Tally{
		Seen: m.GetSeen(), Filtered: m.GetFiltered(), Handled: m.GetHandled(), Skipped: m.GetSkipped(), Forwarded: m.GetForwarded(),
		Parked: m.GetParked(), Unparked: m.GetUnparked(), Failures: m.GetFailures(),
	}
}

// FromApps returns the messages of applications.
func FromApps(apps []leat.App) []*leatv1.App {
	out := make([]*leatv1.App, len(apps))
	for i, a := range apps {
		out[i] = &leatv1.App{Name: a.Name, Paused: a.Paused, Workers: make([]*leatv1.Worker, len(a.Workers))}
		for j := range a.Workers {
			w := &a.Workers[j]
			out[i].Workers[j] = &leatv1.Worker{Status: fromStatus(&w.AppStatus), At: w.At.UnixNano(), Gone: w.Gone}
		}
	}
	return out
}

// Apps returns the applications of messages, nil when there are none.
func Apps(in []*leatv1.App) []leat.App {
	var out []leat.App
	for _, m := range in {
		a := leat.App{Name: m.GetName(), Paused: m.GetPaused()}
		for _, w := range m.GetWorkers() {
			a.Workers = append(a.Workers, leat.Worker{AppStatus: appStatus(w.GetStatus()), At: moment(w.GetAt()), Gone: w.GetGone()})
		}
		out = append(out, a)
	}
	return out
}

// fromTime returns nil for the zero time.
func fromTime(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ns := t.UnixNano()
	return &ns
}

func toTime(ns *int64) time.Time {
	if ns == nil {
		return time.Time{}
	}
	return moment(*ns)
}
