package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/bench"
)

// workloadFlags say what is appended.
type workloadFlags struct {
	Producers   int           `default:"8" help:"How many append at a time."`
	Pipeline    int           `default:"1" help:"Appends that each producer has in flight."`
	Batch       int           `default:"1" help:"Events of an Append; all are of one stream."`
	Size        byteSize      `default:"256" help:"Bytes of an event's data, JSON text."`
	Streams     bench.Streams `default:"new" placeholder:"new" help:"Which streams: new (each Append begins one), one (one for each Append in flight), or a number to choose among at random."`
	IDs         bench.IDs     `name:"ids" enum:"uuidv7,uuidv4,text" default:"uuidv7" help:"Kind of event IDs: uuidv7, uuidv4 or text."`
	Sources     count         `default:"1" help:"How many different sources the events have; a stream has one."`
	Conditions  bool          `default:"true" negatable:"" help:"Expect the stream's version with each Append."`
	Rate        float64       `placeholder:"NUMBER" help:"Events per second that are due from all producers together; as many as they can when 0. Latency then counts from when an Append is due."`
	Events      count         `placeholder:"NUMBER" help:"End a run after so many events, such as 1M, the warm-up included."`
	Warmup      time.Duration `default:"500ms" help:"Append so long before the measured part, at most a tenth of --events."`
	Shards      int           `default:"1" help:"Shards of a log that is made."`
	Keep        bool          `help:"Keep the logs of several runs."`
	Connections int           `default:"1" help:"Connections to the server, shared by the producers evenly."`
	extent
	repeats
}

func (f workloadFlags) workload() bench.Workload {
	return bench.Workload{
		Producers: f.Producers, Pipeline: f.Pipeline, Batch: f.Batch, Size: int(f.Size), Streams: f.Streams, IDs: f.IDs,
		Sources: int(f.Sources), Conditions: f.Conditions, Rate: f.Rate,
	}
}

func (f workloadFlags) check() error {
	w := f.workload()
	if err := w.Check(engineLimits); err != nil {
		return err
	}
	if f.Warmup < 0 {
		return &leat.InvalidError{Field: "--warmup", Limit: "0s (none) or more", Got: f.Warmup.String()}
	}
	return cmp.Or(
		f.extent.check("--events", f.Events), f.repeats.check(),
		within("--shards", f.Shards, 1, mostShards), within("--connections", f.Connections, 1, f.Producers),
	)
}

type benchAppendCmd struct {
	benchFlags
	workloadFlags
}

func (cmd benchAppendCmd) Validate() error {
	return cmp.Or(cmd.benchFlags.check(), cmd.workloadFlags.check())
}

func (benchAppendCmd) Help() string {
	return `
Appends events as producers do that wait for their answers: every Append is durable, and what it expects is checked.
A directory that is not there or empty becomes a log, and stays; with several --runs each has a log of its own in it,
which is removed afterwards. A log that is there is used as it is, so give one that you can do without.

	$ leat bench append --log dir:/data/bench --producers 256 --events 1M
	$ leat bench append --log dir:/data/bench --producers 8 --batch 500 --streams one --runs 5
	$ leat bench append --log dir:/data/bench --streams 50k --events 1M         20 events in each stream, for bench load
	$ leat bench append --log dir:/data/bench --streams 300k --sources 300k     each stream of a source of its own
	$ leat bench append --log leat://127.0.0.1:7070/bench --producers 8 --pipeline 500 --connections 8

The ceiling is one file on the same disk, to which the same bytes are written in the same groups, one write and one sync
a group, before and after. At a server the groups are not known: it is taken that all Appends in flight make one.
`
}

func (cmd benchAppendCmd) Run(ctx context.Context, c console) error {
	return cmd.benchFlags.appending(ctx, c, "append", cmd.workloadFlags, 0)
}

type benchFollowCmd struct {
	benchFlags
	workloadFlags
	Followers int `default:"1" help:"How many follow. At a server each has a connection."`
}

const mostFollowers = 1000

func (cmd benchFollowCmd) Validate() error {
	return cmp.Or(cmd.benchFlags.check(), cmd.workloadFlags.check(), within("--followers", cmd.Followers, 1, mostFollowers))
}

func (benchFollowCmd) Help() string {
	return `
Appends events while others follow the log, and measures how long after its commit (At) an event reaches a follower. Give
a --rate that the followers can keep up with. Without one the producers are as fast as they can, and what counts is
EVENTS/S: the rate at which all followers have seen everything.

	$ leat bench follow --log dir:/data/bench --rate 10000 --duration 10s
	$ leat bench follow --log leat://127.0.0.1:7070/bench --followers 4 --rate 1000
`
}

func (cmd benchFollowCmd) Run(ctx context.Context, c console) error {
	return cmd.benchFlags.appending(ctx, c, "follow", cmd.workloadFlags, cmd.Followers)
}

// appending measures producers, and followers when there are some.
func (f benchFlags) appending(ctx context.Context, c console, command string, w workloadFlags, followers int) error {
	t, err := f.target(w.Connections, followers)
	if err != nil {
		return err
	}
	if err := t.orMake(leat.Config{Shards: leat.EvenShards(w.Shards)}, w.Runs, w.Keep); err != nil {
		return err
	}
	var results []benchResult
	for run := 1; run <= w.Runs; run++ {
		r := appendRun{command: command, flags: f, workloadFlags: w, target: t, followers: followers}
		result, err := r.run(ctx, c, run)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	return f.report(c, results, 0, printAppends)
}

// An appendRun is one run of bench append or follow.
type appendRun struct {
	workloadFlags
	command   string
	flags     benchFlags
	target    *benchTarget
	followers int

	log       *benchLog
	producers *bench.Producers
}

func (r *appendRun) run(ctx context.Context, c console, number int) (_ benchResult, err error) {
	log, remove, err := r.target.open(ctx, number)
	if err != nil {
		return benchResult{}, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	defer func() { err = errors.Join(err, log.close()) }()
	w := r.workload()
	w.Stamp = r.followers > 0
	if err := w.Check(log.limits); err != nil {
		return benchResult{}, err
	}
	r.log, r.producers = log, bench.NewProducers(w, log.logs[:r.Connections]...)
	defer watch(c, fmt.Sprintf("run %d of %d", number, r.Runs), r.producers.Done)()
	return r.measure(ctx)
}

// measure appends: first to warm up, which also tells how events are grouped,
// so that the ceiling can be measured before as well as after.
func (r *appendRun) measure(ctx context.Context) (benchResult, error) {
	result := newResult(r.command, r.log)
	result.AppendResult = r.describe()
	took, allocs := r.producers.Generation()
	result.GenerateNS, result.GenerateAllocs = round(float64(took)), round(allocs)
	events, duration := r.of(r.Events)
	ceiling, err := r.warmUp(ctx, events)
	if err != nil {
		return benchResult{}, err
	}
	result.WarmupEvents, result.CeilingBefore = r.producers.Done(), round(ceiling.Rate())
	if events > 0 {
		events -= result.WarmupEvents
	}

	var f *bench.Followed
	before := r.log.told()
	err = r.flags.measured(func() (err error) {
		f, err = r.produce(ctx, events, duration)
		return err
	})
	if err != nil {
		return benchResult{}, err
	}
	after := r.log.told()
	g := r.grouping(before, after, f.Appended)
	result.setFigures(f.Seen)
	result.setGrouping(g, after != nil)
	result.setStats(before, after)
	if r.followers > 0 {
		result.setFollowed(f, r.followers)
	}

	closing := time.Now()
	if err := r.log.close(); err != nil { // so that the log does nothing while the ceiling is measured
		return benchResult{}, err
	}
	result.CloseSeconds = time.Since(closing).Seconds()
	again, err := bench.WriteCeiling(ctx, r.target.ceilingDir, g, r.flags.CeilingTime)
	if err != nil {
		return benchResult{}, err
	}
	result.CeilingAfter = round(again.Rate())
	ceiling.Add(again)
	result.setCeiling(ceiling)
	return result, nil
}

// warmUp appends at most a tenth of the events, and then measures the ceiling.
// Without a warm-up the ceiling is empty.
func (r *appendRun) warmUp(ctx context.Context, events uint64) (*bench.Ceiling, error) {
	if r.Warmup == 0 || events > 0 && events < 10 {
		return &bench.Ceiling{}, nil
	}
	before := r.log.told()
	f, err := r.producers.Run(ctx, events/10, r.Warmup)
	if err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	return bench.WriteCeiling(ctx, r.target.ceilingDir, r.grouping(before, r.log.told(), f), r.flags.CeilingTime)
}

// produce lets the producers append, and the followers see it. Without
// followers, what was appended stands for what was seen.
func (r *appendRun) produce(ctx context.Context, events uint64, d time.Duration) (*bench.Followed, error) {
	if r.followers > 0 {
		return bench.Follow(ctx, r.producers, events, d, r.log.logs[len(r.log.logs)-r.followers:]...)
	}
	f, err := r.producers.Run(ctx, events, d)
	return &bench.Followed{Appended: f, Seen: f}, err
}

// grouping returns how events reached the disk between two moments. Where the
// log does not tell, all Appends in flight are taken as one group, which is the
// most that could be, with the bytes of the events.
func (r *appendRun) grouping(before, after *engine.Stats, f *bench.Figures) bench.Grouping {
	if after != nil {
		return bench.Grouping{
			Groups: after.Groups - before.Groups, Events: after.Recorded - before.Recorded, Bytes: after.Bytes - before.Bytes,
		}
	}
	group := uint64(r.Producers * r.Pipeline * r.Batch)
	return bench.Grouping{
		Groups: (f.Events + group - 1) / group, Events: f.Events, Bytes: uint64(float64(f.Events) * f.EventBytes),
	}
}
