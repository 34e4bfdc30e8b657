package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/leathq/leat"
)

// CompactOptions say how Compact works. Zero fields stand for the defaults, but
// for Key, which is needed.
type CompactOptions struct {
	// Key signs the catalogs; it has to be one that the archive is signed with.
	Key *Key

	// Grace is how long a file that was replaced is kept for those who are
	// reading it. A reader whose file is gone looks for the new one.
	Grace time.Duration

	// FileBytes is about the greatest size of a compacted file in bytes; what is
	// larger is divided by streams. Two such files are held in memory.
	FileBytes int64

	// MemoryBytes is how many bytes of events (leat.Event.Size) are sorted in
	// memory at a time. More than that is sorted with files in TempDir, which
	// have no name and are gone when the process is.
	MemoryBytes int64
	TempDir     string // of the system when empty

	// Progress is called with the number of events done of all there are to do,
	// by days and by months; nil is not called.
	Progress func(done, total uint64)
}

// Defaults of CompactOptions.
const (
	DefaultGrace       = 24 * time.Hour
	DefaultFileBytes   = 64 << 20
	DefaultMemoryBytes = 64 << 20
)

// keptCatalogs is how many catalogs are left when older ones are removed.
const keptCatalogs = 3

// A CompactReport says what Compact did.
type CompactReport struct {
	Days, Months int    // that were compacted
	Events       uint64 // written, those of a month as well as those of its days
	Files        int    // created
	Removed      int    // files removed
}

// Compact sorts what is archived by stream and version: each day of a shard that
// is over, and each month of days. A day is over when an event of a later one is
// archived, or the shard is closed; days are in UTC, by At. The log's order stays
// in the segments, which are not touched.
//
// It can be interrupted, killed and run again at any time, and by several
// processes at once: what counts is what the last catalog names. It also removes
// what no catalog will ever name, and files that were replaced longer ago than
// the grace period. A key that the archive is not signed with is
// [leat.ErrDenied]; damage in what it reads is a [leat.ErrCorrupt].
func (a *Archive) Compact(ctx context.Context, o CompactOptions) (CompactReport, error) {
	if o.Key == nil {
		return CompactReport{}, &leat.InvalidError{Field: "archive key", Limit: "a key, see LoadKey", Got: "none"}
	}
	if o.Grace < 0 || o.FileBytes < 0 || o.MemoryBytes < 0 {
		return CompactReport{}, &leat.InvalidError{Field: "compaction", Limit: "a grace period and sizes that are not negative"}
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.FileBytes == 0 {
		o.FileBytes = DefaultFileBytes
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = DefaultMemoryBytes
	}
	c := &compaction{archive: a, options: o, codec: zstd.Codec{Level: compressionLevel}}
	err := a.admit(ctx, o.Key, false)
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		return c.report, fmt.Errorf("compact the archive of log %s: %w", a.desc.Log, err)
	}
	return c.report, nil
}

// A compaction is one call of Compact.
type compaction struct {
	archive *Archive
	options CompactOptions
	codec   zstd.Codec
	report  CompactReport
	done    uint64 // events, for Progress
	total   uint64
}

func (c *compaction) run(ctx context.Context) error {
	shards, err := c.archive.shards(ctx)
	if err != nil {
		return err
	}
	var some []leat.ShardID
	for _, shard := range shards {
		tail, err := c.archive.tail(ctx, shard)
		if err != nil {
			return err
		}
		if tail.Number == 0 {
			continue
		}
		cat, err := c.archive.catalog(ctx, shard)
		if err != nil {
			return err
		}
		some = append(some, shard)
		c.total += tail.Total.Events - min(cat.Covered, tail.Total.Events)
	}
	for _, shard := range some {
		if err := c.shard(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

// shard compacts one shard. When another compactor was faster, it goes on with
// what that one left.
func (c *compaction) shard(ctx context.Context, shard leat.ShardID) error {
	for last := uint64(0); ; {
		cat, err := c.archive.catalog(ctx, shard)
		if err != nil {
			return err
		}
		err = c.work(ctx, cat)
		if errors.Is(err, errMoved) && cat.Number >= last {
			last = cat.Number + 1
			continue
		}
		return err
	}
}

// work does all there is to do on a catalog.
func (c *compaction) work(ctx context.Context, cat *catalog) error {
	links, err := c.archive.linksAbove(ctx, cat)
	if err != nil {
		return err
	}
	if cat, err = c.days(ctx, cat, links); err != nil {
		return err
	}
	if cat, err = c.months(ctx, cat, links); err != nil {
		return err
	}
	expired := func(r retired) bool { return time.Since(r.At) >= c.options.Grace }
	if slices.ContainsFunc(cat.Retired, expired) {
		next := cat.next()
		next.Retired = slices.DeleteFunc(next.Retired, expired)
		if cat, err = c.commit(ctx, next); err != nil {
			return err
		}
	}
	return c.sweep(ctx, cat)
}

// next returns the catalog after another, yet without a change.
func (c *catalog) next() *catalog {
	next := *c
	next.Number++
	next.Files, next.Retired = append([]compacted{}, c.Files...), append([]retired{}, c.Retired...)
	return &next
}

// commit creates a catalog.
func (c *compaction) commit(ctx context.Context, next *catalog) (*catalog, error) {
	next.Created = time.Now().UTC().Round(0)
	if err := next.sign(c.options.Key); err != nil {
		return nil, err
	}
	err := c.archive.store.Create(ctx, c.archive.object(catalogName(next.Shard, next.Number)), encodeJSON(next))
	if errors.Is(err, fs.ErrExist) {
		return nil, errMoved
	}
	return next, err
}

const (
	dayLayout   = time.DateOnly
	monthLayout = "2006-01"
)

// days compacts the days above a catalog that are over.
func (c *compaction) days(ctx context.Context, cat *catalog, links []link) (*catalog, error) {
	lastDay, closed := lastDay(links)
	if lastDay == "" {
		return cat, nil
	}
	var day *sorter
	var ref manifestRef
	finish := func() error {
		next := cat.next()
		next.Covered, next.Manifest = day.last, ref
		var err error
		if next.Files, err = c.write(ctx, next, levelDay, day); err == nil {
			cat, err = c.commit(ctx, next)
		}
		c.report.Days++
		day.close()
		day = nil
		return err
	}
	defer func() {
		if day != nil {
			day.close()
		}
	}()
	for _, l := range links {
		err := c.archive.eventsAbove(ctx, l, cat.Covered, func(e *leat.Recorded) error {
			period := e.At.UTC().Format(dayLayout)
			if day != nil && period != day.period {
				if err := finish(); err != nil {
					return err
				}
			}
			if day == nil && period == lastDay && !closed {
				return errDayGoesOn
			}
			if day == nil {
				day = newSorter(c, period, e.Seq)
			}
			ref = manifestRef{l.Number, l.sum}
			return day.add(ctx, keep(e))
		})
		if errors.Is(err, errDayGoesOn) {
			return cat, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if day != nil {
		if err := finish(); err != nil {
			return nil, err
		}
	}
	return cat, nil
}

// errDayGoesOn ends the loop over events at those of a day that is not over.
var errDayGoesOn = errors.New("the day is not over")

// eventsAbove visits the events above a sequence of the segment that a link adds,
// if it adds one. They are good for the call.
func (a *Archive) eventsAbove(ctx context.Context, l link, seq uint64, visit func(*leat.Recorded) error) error {
	if l.Segment == nil || l.Segment.Last <= seq {
		return nil
	}
	r, err := a.segment(ctx, l.Shard, *l.Segment)
	if err != nil {
		return err
	}
	defer r.close()
	var e leat.Recorded
	for range l.Segment.Events {
		if _, err := r.borrow(&e); err != nil {
			return err
		}
		if e.Seq <= seq {
			continue
		}
		if err := visit(&e); err != nil {
			return err
		}
	}
	return nil
}

// lastDay returns the day of the last archived event of a chain, empty when there
// is none, and whether it is the last there will be.
func lastDay(links []link) (day string, closed bool) {
	for _, l := range links {
		if l.Segment != nil {
			day = l.Segment.MaxAt.UTC().Format(dayLayout)
		}
		closed = l.Kind == kindClose
	}
	return day, closed
}

// months merges the days of each month that is over. All days that are over have
// been compacted, so what is not belongs to the last day.
func (c *compaction) months(ctx context.Context, cat *catalog, links []link) (*catalog, error) {
	last, closed := lastDay(links)
	for {
		i := slices.IndexFunc(cat.Files, func(f compacted) bool {
			return f.Level == levelDay && (closed || f.Period[:len(monthLayout)] < last[:len(monthLayout)])
		})
		if i < 0 {
			return cat, nil
		}
		month := cat.Files[i].Period[:len(monthLayout)]
		end := i
		for end < len(cat.Files) && cat.Files[end].Level == levelDay && cat.Files[end].Period[:len(monthLayout)] == month {
			end++
		}
		days := cat.Files[i:end]
		next := cat.next()
		next.Files = slices.Delete(next.Files, i, end)
		merged := &sorter{compaction: c, period: month, first: days[0].First, last: days[len(days)-1].Last}
		for _, f := range days {
			merged.addFile(f.Period, c.archive.source(f))
			next.Retired = append(next.Retired, retired{f.Object, time.Now().UTC().Round(0)})
		}
		c.total += merged.last - merged.first + 1
		written, err := c.write(ctx, &catalog{Shard: cat.Shard, Number: next.Number}, levelMonth, merged)
		if err != nil {
			return nil, err
		}
		next.Files = slices.Insert(next.Files, i, written...)
		if cat, err = c.commit(ctx, next); err != nil {
			return nil, err
		}
		c.report.Months++
	}
}

// write creates the files of a period and returns those of the catalog that is to
// name them, with them.
func (c *compaction) write(ctx context.Context, next *catalog, level string, s *sorter) ([]compacted, error) {
	files, events := next.Files, uint64(0)
	err := writeSorted(c.counted(ctx, s.sorted(ctx)), c.options.FileBytes, &c.codec, func(d sorted, data []byte) error {
		f := compacted{
			Level: level, Period: s.period, Generation: next.Number, First: s.first, Last: s.last, sorted: d,
			Object: compactedName(next.Shard, level, s.period, next.Number, d.SHA256),
		}
		files, events = append(files, f), events+d.Events
		c.report.Files++
		return c.create(ctx, f, data)
	})
	if err == nil && events != s.last-s.first+1 {
		err = fmt.Errorf("%w: %s of %s has %d events, and sequences %d to %d", leat.ErrCorrupt, s.period, next.Shard, events, s.first, s.last)
	}
	c.report.Events += events
	return files, err
}

// create creates a compacted file. One that exists under its name was made by
// another compactor, or one that was killed.
func (c *compaction) create(ctx context.Context, f compacted, data []byte) error {
	object := c.archive.object(f.Object)
	err := c.archive.store.Create(ctx, object, data)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	existing, err := c.archive.store.Get(ctx, object)
	if err == nil && hexSum(existing) != f.SHA256 {
		err = corrupt(object, "does not have the SHA-256 in its name, and no catalog names it: remove it and run again")
	}
	return err
}

// sweep removes files that a catalog does not name and no later one will, and old
// catalogs.
func (c *compaction) sweep(ctx context.Context, cat *catalog) error {
	unnamed, err := c.archive.unnamed(ctx, cat)
	if err != nil {
		return err
	}
	for _, object := range unnamed {
		if g, ok := generationOf(path.Base(object)); !ok || g > cat.Number {
			continue
		}
		if err := c.archive.store.Remove(ctx, object); err != nil {
			return err
		}
		c.report.Removed++
	}
	numbers, err := c.archive.catalogNumbers(ctx, cat.Shard)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n+keptCatalogs <= cat.Number {
			if err := c.archive.store.Remove(ctx, c.archive.object(catalogName(cat.Shard, n))); err != nil {
				return err
			}
		}
	}
	return nil
}
