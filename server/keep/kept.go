package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/server"
)

// A kept is a log that is archived.
type kept struct {
	archive  *Archive
	id       string
	log      server.Log
	reader   leat.Log
	archiver *archive.Archiver
	logger   *slog.Logger

	stop    context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	stopped    bool // it is not archived any more
	retention  chore
	compaction chore
	verified   map[leat.ShardID]uint64 // last sequences that retention verified and removed
	removed    uint64                  // events
	keptBytes  int64                   // of events, when retention last looked
	compacted  uint64                  // events
}

// Reader implements [server.Kept].
func (k *kept) Reader() leat.Log { return k.reader }

// Close implements [server.Kept].
func (k *kept) Close() error {
	k.stop()
	k.running.Wait()
	return nil
}

// Trim implements [leat.Trimmer]. An event that is not archived is not removed:
// there would be a hole in the archive for good.
func (k *kept) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	t, ok := k.log.(leat.Trimmer)
	if !ok {
		return 0, leat.ErrUnsupported
	}
	if archived := k.archiver.Stats().Archived[shard]; below > archived+1 {
		return 0, &leat.InvalidError{
			Field: "below", Limit: fmt.Sprintf("at most %d: what follows in %s is not known to be archived", archived+1, shard), Got: fmt.Sprint(below),
		}
	}
	return t.Trim(ctx, shard, below)
}

// mendEvery is how often an archiver is started again that stopped because of
// what only somebody can mend.
const mendEvery = 10 * time.Minute

// archiving runs the archiver.
func (k *kept) archiving(ctx context.Context) {
	last := ""
	for {
		k.setStopped(false)
		err := k.archiver.Run(ctx)
		if err == nil {
			return
		}
		k.setStopped(true)
		if text := err.Error(); text != last {
			k.logger.Error("the log is not archived until this is mended", "archive", k.archive.config.URL, "error", text)
			last = text
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(mendEvery):
		}
	}
}

func (k *kept) setStopped(stopped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = stopped
}

// watchEvery is how often watch looks.
const watchEvery = time.Second

// watch logs when the archiver gets into trouble, and out of it.
func (k *kept) watch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text := ""
		if err := k.archiver.Err(); err != nil && !k.isStopped() {
			text = err.Error()
		}
		switch {
		case text != "" && text != last:
			k.logger.Warn("the log cannot be archived; it is tried again", "archive", k.archive.config.URL, "error", text)
		case text == "" && last != "" && !k.isStopped():
			k.logger.Info("the log is archived again", "archive", k.archive.config.URL)
		}
		last = text
	}
}

func (k *kept) isStopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// upkeep does what is to be done from time to time.
func (k *kept) upkeep(ctx context.Context) {
	c := k.archive.config
	ticker := time.NewTicker(min(c.RetainEvery, c.CompactEvery))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if k.archiver.Stats().Success.IsZero() {
			continue // nothing is archived, or the store cannot be reached
		}
		if c.RetainAge > 0 || c.RetainBytes > 0 {
			k.do(ctx, &k.retention, c.RetainEvery, k.retain)
		}
		k.do(ctx, &k.compaction, c.CompactEvery, k.compact)
	}
}

// A chore is what is done from time to time. The mutex of its kept covers it.
type chore struct {
	name    string
	begun   time.Time // the last time, zero when it failed
	success time.Time
	errors  uint64
	last    string // error
}

// do does a chore when it is due. One that failed is due again at once.
func (k *kept) do(ctx context.Context, c *chore, every time.Duration, work func(context.Context) error) {
	k.mu.Lock()
	due := time.Since(c.begun) >= every
	k.mu.Unlock()
	if !due {
		return
	}
	begun := time.Now()
	err := k.archive.ours(ctx, func() error { return work(ctx) })
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		c.begun, c.success, c.last = begun, time.Now(), ""
		return
	}
	c.errors++
	if text := err.Error(); text != c.last {
		c.last = text
		k.logger.Warn(c.name+" failed; it is tried again", "archive", k.archive.config.URL, "error", text)
	}
}

// retain removes from the log what is archived, verified, and not to be kept.
func (k *kept) retain(ctx context.Context) error {
	c := k.archive.config
	shards, err := archive.Retain(ctx, k.log, k.archive.store, archive.RetainOptions{
		Age: c.RetainAge, Bytes: c.RetainBytes, Keys: []string{c.Key.Public()},
	})
	var removed uint64
	k.mu.Lock()
	if shards != nil {
		k.verified, k.keptBytes = make(map[leat.ShardID]uint64), 0
	}
	for _, s := range shards {
		removed += s.Oldest - s.From
		k.verified[s.Shard] = s.Oldest - 1
		k.keptBytes += s.KeptBytes
	}
	k.removed += removed
	k.mu.Unlock()
	if removed > 0 {
		k.logger.Info("removed events that are archived and verified", "events", removed)
	}
	return err
}

// compact sorts by stream what was archived since the last time.
func (k *kept) compact(ctx context.Context) error {
	a, err := archive.Open(ctx, k.archive.store, k.id, k.archive.config.Key.Public())
	if errors.Is(err, leat.ErrNotFound) {
		return errNothingYet
	}
	if err != nil {
		return err
	}
	report, err := a.Compact(ctx, archive.CompactOptions{Key: k.archive.config.Key, TempDir: k.archive.config.Dir})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.compacted += report.Events
	return err
}
