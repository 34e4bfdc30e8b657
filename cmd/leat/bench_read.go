package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/bench"
)

type benchReplayCmd struct {
	benchFlags
	Rounds int          `default:"5" help:"Read it so often. The first round finds less in memory than the others, so it is left out of the median."`
	Shard  leat.ShardID `placeholder:"SHARD" help:"Read only this shard, such as shardId-000000000000."`
	API    bench.API    `name:"api" enum:"read,scan" default:"read" help:"Method of the log to read with: read gives each event memory of its own, scan shows one after the other."`
	Limit  count        `placeholder:"NUMBER" help:"Events of one read; the log's default when left out."`
}

func (cmd benchReplayCmd) Validate() error {
	const mostLimit = 1_000_000
	return cmp.Or(cmd.check(), within("--rounds", cmd.Rounds, 1, mostRuns), within("--limit", int(cmd.Limit), 0, mostLimit))
}

func (benchReplayCmd) Help() string {
	return `
Reads every event from the oldest to the head, one shard after the other on one goroutine, as a projection does that is
built anew, and checks that no sequence is missing. Nothing is done with the events.

	$ leat bench append --log dir:/data/bench --batch 500 --events 1M
	$ leat bench replay --log dir:/data/bench                              through the engine's default cache
	$ leat bench replay --log dir:/data/bench --cache 1GiB                 all in its cache, from the second round on
	$ leat bench replay --log dir:/data/bench --shard shardId-000000000002

The ceiling is to read the same bytes from a file that the operating system has in memory, with a checksum over them.
`
}

func (cmd benchReplayCmd) Run(ctx context.Context, c console) error {
	return cmd.onLog(ctx, func(log *benchLog, ceilingDir string) error {
		var done atomic.Uint64
		defer watch(c, "events", done.Load)()
		replay := bench.Replay{Log: log.logs[0], Shard: cmd.Shard, API: cmd.API, Limit: int(cmd.Limit), Done: func(n uint64) { done.Add(n) }}
		var rounds []benchResult
		for range cmd.Rounds {
			r := newResult("replay", log)
			r.ReadResult = &ReadResult{API: string(cmd.API), Shard: string(cmd.Shard), Goroutines: 1}
			err := cmd.reading(ctx, log, ceilingDir, &r, func() (*bench.Figures, error) { return replay.Round(ctx) })
			if err != nil {
				return err
			}
			rounds = append(rounds, r)
		}
		return cmd.report(c, rounds, min(1, len(rounds)-1), printReads)
	})
}

type benchLoadCmd struct {
	benchFlags
	Goroutines int   `default:"1" help:"How many load at a time."`
	Loads      count `placeholder:"NUMBER" help:"End a run after so many streams."`
	Among      count `placeholder:"NUMBER" help:"Load only from so many streams, chosen at random beforehand; all when left out."`
	extent
	repeats
}

func (cmd benchLoadCmd) Validate() error {
	const mostGoroutines = 10_000
	return cmp.Or(
		cmd.benchFlags.check(), cmd.extent.check("--loads", cmd.Loads), cmd.repeats.check(),
		within("--goroutines", cmd.Goroutines, 1, mostGoroutines), within("--among", int(cmd.Among), 0, bench.MostStreams),
	)
}

func (benchLoadCmd) Help() string {
	return `
Reads whole streams, each chosen at random, as a service does before it decides a command. The streams' names are read
from the log first, which leaves as much of it in the caches as these hold.

	$ leat bench append --log dir:/data/bench --streams 50k --events 1M            about 20 events in each
	$ leat bench load --log dir:/data/bench --cache 1GiB --goroutines 4            all in the engine's cache
	$ leat bench load --log dir:/data/bench --cache 8MiB --duration 5s             hardly any

The ceiling is to read the same bytes one after the other from a file that the operating system has in memory, with a
checksum over them.
`
}

func (cmd benchLoadCmd) Run(ctx context.Context, c console) error {
	return cmd.onLog(ctx, func(log *benchLog, ceilingDir string) error {
		streams, err := cmd.streams(ctx, c, log)
		if err != nil {
			return err
		}
		var done atomic.Uint64
		defer watch(c, "streams", done.Load)()
		load := bench.Load{Log: log.logs[0], Streams: streams, Goroutines: cmd.Goroutines, Done: func(n uint64) { done.Add(n) }}
		loads, duration := cmd.of(cmd.Loads)
		var runs []benchResult
		for range cmd.Runs {
			r := newResult("load", log)
			r.ReadResult = &ReadResult{Goroutines: cmd.Goroutines, Among: len(streams)}
			err := cmd.reading(ctx, log, ceilingDir, &r, func() (*bench.Figures, error) { return load.Run(ctx, loads, duration) })
			if err != nil {
				return err
			}
			r.StreamsPerSecond = round(float64(r.Calls) / r.Seconds)
			runs = append(runs, r)
		}
		return cmd.report(c, runs, 0, printReads)
	})
}

func (cmd benchLoadCmd) streams(ctx context.Context, c console, log *benchLog) ([]string, error) {
	var done atomic.Uint64
	defer watch(c, "reading the names of streams", done.Load)()
	names, err := bench.StreamsOf(ctx, log.logs[0], int(cmd.Among), func(n uint64) { done.Add(n) })
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no streams to load: leat bench append makes some", log.url)
	}
	return names, err
}

// onLog opens the log, which is there, for the time of do.
func (f benchFlags) onLog(ctx context.Context, do func(log *benchLog, ceilingDir string) error) (err error) {
	t, err := f.target(1, 0)
	if err != nil {
		return err
	}
	log, _, err := t.open(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.close()) }()
	return do(log, t.ceilingDir)
}

// reading measures reads and then the ceiling.
func (f benchFlags) reading(ctx context.Context, log *benchLog, ceilingDir string, r *benchResult, read func() (*bench.Figures, error)) error {
	var figures *bench.Figures
	before := log.told()
	err := f.measured(func() (err error) {
		figures, err = read()
		return err
	})
	if err != nil {
		return err
	}
	r.setFigures(figures)
	r.setStats(before, log.told())
	ceiling, err := bench.ReadCeiling(ctx, ceilingDir, figures.Events, figures.EventBytes, f.CeilingTime)
	if err != nil {
		return err
	}
	r.CeilingAfter = round(ceiling.Rate())
	r.setCeiling(ceiling)
	return nil
}
