package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/leathq/leat"
)

const (
	reportEvery = 2 * time.Second
	reportTTL   = 10 * time.Second // silent for longer, a worker is gone
	reportWait  = 5 * time.Second  // for one report
	farewell    = 2 * time.Second  // for the last one
	patience    = time.Minute      // for the first answer
)

// report tells the reporter how the applications fare, and the applications
// whether they are paused, until stop ends. ready is closed when that is known
// for the first time, since a worker must not start on what is paused. A
// reporter that takes no reports, none of another worker, or is away for long, is
// no reason not to work.
func (a *App) report(stop context.Context, ready chan<- struct{}) {
	began, refused := time.Now(), false
	for {
		err := a.reportOnce(stop, reportWait)
		if stop.Err() != nil {
			return
		}
		if ready != nil && (err == nil || !passing(err) || errors.Is(err, leat.ErrFull) || time.Since(began) > patience) {
			close(ready)
			ready = nil
		}
		if err != nil && !refused {
			a.config.Logger.Warn("how the applications fare was not reported", "error", err)
		}
		if refused = err != nil; pause(stop, reportEvery) != nil {
			return
		}
	}
}

// reportOnce reports, and takes in what is paused.
func (a *App) reportOnce(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for some := range slices.Chunk(a.fleets, leat.MaxReportApps) {
		status := make([]Status, len(some))
		for i, f := range some {
			status[i] = reported(f.snapshot())
			status[i].Ended = f.over.Load()
		}
		paused, err := a.config.Reporter.Report(ctx, status, reportTTL)
		if err != nil {
			return err
		}
		for _, f := range some {
			f.brake.pauseFleet(slices.Contains(paused, f.name))
		}
	}
	return nil
}

// sayFarewell reports that this worker has come to its end.
func (a *App) sayFarewell() {
	if err := a.reportOnce(context.Background(), farewell); err != nil {
		a.config.Logger.Warn("the end of this worker was not reported", "error", err)
	}
}

// reported returns what a report may hold of a status.
func reported(s Status) Status {
	s.LastError = strings.ToValidUTF8(s.LastError, "\uFFFD")
	if len(s.LastError) > leat.MaxReportError {
		const more = "…"
		s.LastError = strings.ToValidUTF8(s.LastError[:leat.MaxReportError-len(more)], "") + more
	}
	if more := len(s.Shards) - leat.MaxReportShards; more > 0 { // rather without the oldest that are finished
		s.Shards = slices.DeleteFunc(s.Shards, func(shard ShardStatus) bool {
			if shard.Closed && more > 0 {
				more--
				return true
			}
			return false
		})
		s.Shards = s.Shards[:min(len(s.Shards), leat.MaxReportShards)]
	}
	return s
}
