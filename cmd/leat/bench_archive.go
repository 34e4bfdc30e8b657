package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/internal/bench"
)

type benchArchiveCmd struct {
	benchFlags
	Events    count         `default:"1M" placeholder:"NUMBER" help:"Append so many events, in each measure of appending."`
	Producers int           `default:"8" help:"How many append at a time."`
	Batch     int           `default:"100" help:"Events of an Append; all are of one stream."`
	Size      byteSize      `default:"256" help:"Bytes of an event's data, JSON text."`
	Streams   bench.Streams `default:"new" placeholder:"new" help:"Which streams: new (each Append begins one), one (one for each producer), or a number to choose among at random."`
	Appends   bool          `default:"true" negatable:"" help:"Measure appending, alone and beside an archiver."`
	Loads     count         `default:"50" help:"Load so many streams from the archive, chosen at random."`
}

func (cmd benchArchiveCmd) Validate() error {
	w := cmd.workload()
	return cmp.Or(
		cmd.check(), w.Check(engineLimits), within("--events", int(cmd.Events), 100, 1_000_000_000),
		within("--loads", int(cmd.Loads), 1, bench.MostStreams), cmd.inDirectory(),
	)
}

func (cmd benchArchiveCmd) inDirectory() error {
	if served(cmd.LogURL) {
		return &leat.InvalidError{Field: "--log", Limit: "dir:PATH: what is archived beside is measured in this process", Got: cmd.LogURL}
	}
	return nil
}

func (benchArchiveCmd) Help() string {
	return `
Archives a log into a directory beside it, reads the archive, verifies it, restores it into another log, and loads streams
from it. Then the archive and the restored log are removed. It also measures appending, to logs of its own: alone, and
while an archiver archives what is appended. For all that there has to be room for two copies of the log.

A directory that is not there or empty becomes a log of --events, and stays; one that holds a log is archived as it is, to
see how much smaller your own events become.

	$ leat bench archive --log dir:/data/bench --events 3M
	$ leat bench archive --log dir:data/logs/orders --no-appends
	$ leat bench archive --log dir:/data/bench --batch 1 --producers 256

The ceilings: what is written (appends, segments, the restored log) as one file on the same disk, in the same groups, one
write and one sync a group; what is read, as the same bytes from memory, with a checksum over them.
`
}

func (cmd benchArchiveCmd) workload() bench.Workload {
	return bench.Workload{
		Producers: cmd.Producers, Pipeline: 1, Batch: cmd.Batch, Size: int(cmd.Size), Streams: cmd.Streams, IDs: bench.UUIDv7,
		Sources: 1, Conditions: true,
	}
}

func (cmd benchArchiveCmd) Run(ctx context.Context, c console) (err error) {
	t, err := cmd.target(1, 0)
	if err != nil {
		return err
	}
	if err := t.orMake(leat.Config{}, 1, true); err != nil {
		return err
	}
	dir, err := directory(cmd.LogURL)
	if err != nil {
		return err
	}
	key, err := archive.NewKey()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(t.ceilingDir, ".leat-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	r := &archiveRun{benchArchiveCmd: cmd, console: c, target: t, dir: dir, work: work, key: key}
	r.result.Command, r.result.Log = "archive", cmd.LogURL
	if err := r.run(ctx); err != nil {
		return err
	}
	return cmd.reportArchive(c.out, &r.result)
}

// An archiveRun is one run of bench archive.
type archiveRun struct {
	benchArchiveCmd
	console console
	target  *benchTarget
	dir     string // of the log
	work    string // directory for all else
	key     *archive.Key
	result  archiveResult
}

func (r *archiveRun) run(ctx context.Context) error {
	if err := r.appends(ctx); err != nil {
		return err
	}
	log, err := engine.Open(r.dir, r.target.options)
	if err != nil {
		return err
	}
	store, names, err := r.archive(ctx, log)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	return r.read(ctx, store, names)
}

// appends makes the log that is archived, when there is none, and measures
// appending.
func (r *archiveRun) appends(ctx context.Context) error {
	switch {
	case r.target.make:
		if err := r.appendAlone(ctx, r.dir); err != nil {
			return err
		}
	case r.Appends:
		if err := r.removing(ctx, "alone", r.appendAlone); err != nil {
			return err
		}
	}
	if !r.Appends {
		return nil
	}
	return r.removing(ctx, "beside", r.appendBeside)
}

// removing runs do in a directory that it removes afterwards.
func (r *archiveRun) removing(ctx context.Context, name string, do func(ctx context.Context, dir string) error) error {
	dir := filepath.Join(r.work, name)
	return errors.Join(do(ctx, dir), os.RemoveAll(dir))
}

// mostBehind is how many events an archiver may be behind, in what it gathers for a
// segment and in what it has yet to read: about three segments of the default size.
func (r *archiveRun) mostBehind() uint64 {
	const others = 187 // bytes of an event but for its data
	return uint64(3 * archive.DefaultSegmentBytes / (int64(r.Size) + others))
}

func (r *archiveRun) appendAlone(ctx context.Context, dir string) error {
	return r.appending(ctx, "appending", dir, &r.result.Append, func(log *engine.Log) (leat.Log, appending) {
		return log, func(p *bench.Producers, events uint64) (*bench.Figures, error) { return p.Run(ctx, events, 0) }
	})
}

func (r *archiveRun) appendBeside(ctx context.Context, dir string) error {
	archived := dir + "-archive"
	defer os.RemoveAll(archived)
	store, err := archive.OpenStore("file://" + archived)
	if err != nil {
		return err
	}
	title := "appending beside an archiver"
	return r.appending(ctx, title, dir, &r.result.Beside, func(log *engine.Log) (leat.Log, appending) {
		gated := bench.Gate(log, r.mostBehind())
		return gated, func(p *bench.Producers, events uint64) (*bench.Figures, error) {
			a, err := archive.NewArchiver(log, store, archive.Config{Key: r.key})
			if err != nil {
				return nil, err
			}
			b, err := bench.AppendBeside(ctx, p, events, a, gated)
			if err != nil {
				return nil, err
			}
			r.result.setBeside(b)
			return b.Appended, nil
		}
	})
}

// An appending has producers append so many events.
type appending func(p *bench.Producers, events uint64) (*bench.Figures, error)

// appending measures appends to a new log, after a tenth of them to warm up. The
// log that they go to, and how, is what prepare makes of it.
func (r *archiveRun) appending(
	ctx context.Context, title, dir string, m **measured, prepare func(*engine.Log) (leat.Log, appending),
) (err error) {
	log, err := engine.Create(dir, leat.Config{}, r.target.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	to, run := prepare(log)
	p := bench.NewProducers(r.workload(), to)
	defer watch(r.console, title, p.Done)()
	warmup := uint64(r.Events) / 10
	if _, err := p.Run(ctx, warmup, 0); err != nil {
		return err
	}
	before := log.Stats()
	*m, err = r.measure(func() (*bench.Figures, error) { return run(p, uint64(r.Events)-warmup) })
	if err != nil {
		return err
	}
	return (*m).writeCeiling(ctx, r, groupingOf(before, log.Stats()))
}

// archive archives the log, and returns the store and the streams to load.
func (r *archiveRun) archive(ctx context.Context, log *engine.Log) (archive.Store, []string, error) {
	store, err := archive.OpenStore("file://" + filepath.Join(r.work, "archive"))
	if err != nil {
		return nil, nil, err
	}
	a, err := archive.NewArchiver(log, store, archive.Config{Key: r.key})
	if err != nil {
		return nil, nil, err
	}
	defer watch(r.console, "archiving", func() uint64 { return a.Stats().Events })()
	var status archive.Status
	r.result.Archive, err = r.measure(func() (f *bench.Figures, err error) {
		f, status, err = bench.Archive(ctx, a, log)
		return f, err
	})
	if err != nil {
		return nil, nil, err
	}
	r.result.setStatus(status)
	grouping := bench.Grouping{Groups: status.Segments, Events: status.Events, Bytes: uint64(status.Bytes)}
	if err := r.result.Archive.writeCeiling(ctx, r, grouping); err != nil {
		return nil, nil, err
	}
	names, err := bench.StreamsOf(ctx, log, int(r.Loads), nil)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no streams to load", r.LogURL)
	}
	return store, names, err
}

// read measures all that is done with an archive.
func (r *archiveRun) read(ctx context.Context, store archive.Store, streams []string) error {
	id, eventBytes := r.result.logID, r.result.EventBytes
	a, err := archive.Open(ctx, store, id, r.key.Public())
	if err != nil {
		return err
	}
	var done atomic.Uint64
	add := func(more uint64) { done.Add(more) }
	reading := func(title string, m **measured, do func() (*bench.Figures, error)) (err error) {
		done.Store(0)
		defer watch(r.console, title, done.Load)()
		if *m, err = r.measure(do); err != nil {
			return err
		}
		return (*m).readCeiling(ctx, r)
	}
	if err := reading("reading the archive", &r.result.Read, func() (*bench.Figures, error) { return bench.ReadArchive(ctx, a, add) }); err != nil {
		return err
	}
	if err := reading("verifying", &r.result.Verify, func() (*bench.Figures, error) { return bench.VerifyArchive(ctx, store, id, eventBytes) }); err != nil {
		return err
	}
	if err := r.removing(ctx, "restored", func(ctx context.Context, dir string) error { return r.restore(ctx, a, dir) }); err != nil {
		return err
	}
	defer watch(r.console, "loading streams", done.Load)()
	done.Store(0)
	counted := &bench.CountingStore{Store: store}
	var f *bench.Figures
	err = r.measured(func() (err error) {
		open := func() (*archive.Archive, error) { return archive.Open(ctx, counted, id, r.key.Public()) }
		f, err = bench.LoadArchived(ctx, open, streams, add)
		return err
	})
	if err != nil {
		return err
	}
	r.result.setLoad(f, counted)
	return nil
}

func (r *archiveRun) restore(ctx context.Context, a *archive.Archive, dir string) (err error) {
	config, err := a.Config(ctx)
	if err != nil {
		return err
	}
	log, err := engine.Create(dir, config, r.target.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	var done atomic.Uint64
	defer watch(r.console, "restoring", done.Load)()
	before := log.Stats()
	r.result.Restore, err = r.measure(func() (*bench.Figures, error) {
		return bench.RestoreArchive(ctx, a, log, r.result.EventBytes, done.Store)
	})
	if err != nil {
		return err
	}
	return r.result.Restore.writeCeiling(ctx, r, groupingOf(before, log.Stats()))
}

// measure runs do, the part that counts.
func (r *archiveRun) measure(do func() (*bench.Figures, error)) (*measured, error) {
	bench.ForgetMemory() // what came before
	var f *bench.Figures
	err := r.measured(func() (err error) {
		f, err = do()
		return err
	})
	if err != nil {
		return nil, err
	}
	return newMeasured(f), nil
}

// groupingOf returns how events reached the disk between two moments.
func groupingOf(before, after engine.Stats) bench.Grouping {
	return bench.Grouping{Groups: after.Groups - before.Groups, Events: after.Recorded - before.Recorded, Bytes: after.Bytes - before.Bytes}
}
