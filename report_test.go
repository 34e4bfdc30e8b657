package leat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// Of a shard the worker is believed that holds it, however far others saw it.
func TestStatusOfAFleet(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	shard := func(n int, held bool, next uint64, oldest time.Duration) leat.ShardStatus {
		return leat.ShardStatus{
			ID: leat.ShardNumber(n), Held: held, Next: next, Head: 100, Oldest: now.Add(-oldest), Replay: 95, Tally: leat.Tally{Handled: 1},
		}
	}
	worker := func(s leat.AppStatus, gone bool, ago time.Duration) leat.Worker {
		return leat.Worker{AppStatus: s, Gone: gone, At: now.Add(-ago)}
	}
	for _, c := range []struct {
		name    string
		workers []leat.Worker
		want    string
	}{
		{"nobody", nil, "lag 0 replay 0 behind 0s rate 0 waiting 0 eta 0s error  handled 0"},
		{"two that share", []leat.Worker{
			worker(leat.AppStatus{Rate: 3, Waiting: 2, Shards: []leat.ShardStatus{shard(0, true, 90, time.Minute), shard(1, false, 95, time.Hour)}}, false, 0),
			worker(leat.AppStatus{Rate: 2, Shards: []leat.ShardStatus{shard(0, false, 80, time.Hour), shard(1, true, 70, time.Second)}}, false, 0),
		}, "lag 40 replay 30 behind 1m0s rate 5 waiting 2 eta 6s error  handled 0"},
		{"one that is gone", []leat.Worker{
			worker(leat.AppStatus{Rate: 3, Waiting: 9, Shards: []leat.ShardStatus{shard(0, true, 90, time.Minute)}}, true, time.Minute),
			worker(leat.AppStatus{Rate: 2, Waiting: 1, Shards: []leat.ShardStatus{shard(0, true, 80, time.Hour)}, LastError: "a", LastAt: now}, false, 0),
		}, "lag 20 replay 15 behind 1h0m0s rate 2 waiting 1 eta 7.5s error a handled 0"},
		{"all are gone", []leat.Worker{
			worker(leat.AppStatus{Rate: 3, Waiting: 9, Shards: []leat.ShardStatus{shard(0, true, 90, time.Minute)}}, true, time.Minute),
			worker(leat.AppStatus{Rate: 2, Waiting: 1, Shards: []leat.ShardStatus{shard(0, true, 80, time.Hour)}}, true, time.Hour),
		}, "lag 10 replay 5 behind 1m0s rate 0 waiting 9 eta -1ns error  handled 0"},
		{"caught up", []leat.Worker{
			worker(leat.AppStatus{Tally: leat.Tally{Handled: 7}, Shards: []leat.ShardStatus{{ID: leat.ShardNumber(0), Next: 100, Head: 100, Replay: 95}}}, false, 0),
		}, "lag 0 replay 0 behind 0s rate 0 waiting 0 eta 0s error  handled 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := leat.App{Name: "stock", Workers: c.workers}
			s := app.Status()
			got := fmt.Sprintf("lag %d replay %d behind %s rate %g waiting %d eta %s error %s handled %d",
				s.Lag, s.Replay, s.Behind(now), s.Rate, s.Waiting, s.ETA(), s.LastError, s.Handled)
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
