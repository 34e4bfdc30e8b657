package keep

import (
	"context"
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
	name     string // at the server
	id       string
	log      server.Log
	reader   leat.Log
	archiver *archive.Archiver
	logger   *slog.Logger

	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu         sync.Mutex
	stoppedAt  time.Time // when archiving came to an end until somebody mends what is wrong; zero when it never did
	retention  chore
	compaction chore
	verified   map[leat.ShardID]uint64 // last sequences that retention verified and removed
	removed    uint64                  // events
	keptBytes  int64                   // of events, when retention last looked
	compacted  uint64                  // events
}

// Reader implements [server.Kept].
func (k *kept) Reader() leat.Log { return k.reader }

// Start implements [server.Kept].
func (k *kept) Start() {
	if other := k.archive.namesake(k); other != "" {
		k.setStopped()
		k.refused(fmt.Errorf("log %q has the same ID: one is a copy of the other, and both would be archived in one place; remove the copy from the logs of this server", other))
		return
	}
	c := k.archive.config
	k.work.Go(k.archiving)
	k.work.Go(k.watch)
	k.work.Go(func() { k.attend(&k.compaction, k.archive.compacting, c.CompactEvery, k.compact) })
	if c.RetainAge > 0 || c.RetainBytes > 0 {
		k.work.Go(func() { k.attend(&k.retention, k.archive.retaining, c.RetainEvery, k.retain) })
	}
}

// flushPatience is how long Close waits for what was recorded last to be
// archived.
const flushPatience = 2 * time.Second

// Close implements [server.Kept]. What was recorded last is archived, if the
// store is quick to take it, also when it has just failed.
func (k *kept) Close() error {
	k.stop()
	k.work.Wait()
	k.archive.forget(k)
	if k.archiver.Stats().Success.IsZero() || k.isStopped() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience)
	defer cancel()
	head, err := leat.Start(ctx, k.log, leat.Now)
	if err == nil {
		err = k.archiver.Flush(ctx, head)
	}
	if err != nil {
		k.logger.Warn("what was recorded last is archived when the server is started again", "archive", k.archive.config.URL, "error", err)
	}
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
func (k *kept) archiving() {
	for last := ""; ; {
		err := k.archiver.Run(k.running)
		if err == nil {
			return
		}
		if again := k.isStopped(); !again || err.Error() != last {
			k.refused(err)
			last = err.Error()
		}
		k.setStopped()
		select {
		case <-k.running.Done():
			return
		case <-time.After(mendEvery):
		}
	}
}

// refused logs why the log is not archived.
func (k *kept) refused(err error) {
	k.logger.Error("the log is not archived until this is mended", "archive", k.archive.config.URL, "error", err)
}

func (k *kept) setStopped() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stoppedAt = time.Now()
}

// isStopped reports whether archiving came to an end, and has not succeeded since.
func (k *kept) isStopped() bool {
	success := k.archiver.Stats().Success
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.stoppedAt.IsZero() && !success.After(k.stoppedAt)
}

// watchEvery is how often watch looks.
const watchEvery = time.Second

// watch logs when the archiver gets into trouble, and out of it.
func (k *kept) watch() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-k.running.Done():
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

// A chore is what is done from time to time. The mutex of its kept covers it.
type chore struct {
	name    string
	success time.Time
	errors  uint64
	last    string // error
}

// retryEvery is how soon a chore is done for the first time, and again that
// failed.
const retryEvery = 10 * time.Minute

// attend does a chore until the log is closed. It is hard on the machine, so it is
// done for one log at a time: for that which has taken the token from turn.
func (k *kept) attend(c *chore, turn chan struct{}, every time.Duration, do func(context.Context) error) {
	wait := min(every, retryEvery)
	for {
		select {
		case <-k.running.Done():
			return
		case <-time.After(wait):
		}
		if k.archiver.Stats().Success.IsZero() {
			continue // nothing is archived, or the store cannot be reached
		}
		select {
		case <-k.running.Done():
			return
		case <-turn:
		}
		err := do(k.running)
		turn <- struct{}{}
		if wait = every; err != nil {
			wait = min(every, retryEvery)
		}
		k.done(c, err)
	}
}

// done records the outcome of a chore.
func (k *kept) done(c *chore, err error) {
	if k.running.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		c.success, c.last = time.Now(), ""
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
	shards, err := archive.Retain(ctx, k.log, k.archive.memory, archive.RetainOptions{
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
	a, err := archive.Open(ctx, k.archive.memory, k.id, k.archive.config.Key.Public())
	if err != nil {
		return err
	}
	report, err := a.Compact(ctx, archive.CompactOptions{Key: k.archive.config.Key})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.compacted += report.Events
	return err
}
