package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
)

// ErrUnreachable says that a log has trimmed what was asked for, and that its
// archive could not be read. Asking again may help: it is a
// [leat.ErrUnavailable].
var ErrUnreachable = fmt.Errorf("the archive could not be reached: %w", leat.ErrUnavailable)

// Tier returns a log whose older part may be only in the archive. What log has
// trimmed is read from a, all else from log, and readers never notice where one
// ends and the other begins. It holds no resources of its own but memory: it is
// done with when log is closed.
//
// Events that are in neither are told as the contract says, by a
// [*leat.TrimmedError]: Shards says of each shard where that begins which can be
// read without a hole. A shard that the archive and the log together hold all of
// begins at 1.
//
// Reads of what log still has never touch the archive. When it cannot be reached,
// reads of the rest are an [ErrUnreachable]; Shards then goes by what was archived
// when it last looked, and takes for archived what it never saw. Damage in the
// archive is a [leat.ErrCorrupt] that names the object. When a is the archive of
// another log, or of a history that log does not have, reads that need it, Shards
// and with it [leat.Read] and [leat.Follow] are a [*leat.DivergedError].
//
// All that is about writing goes to log. The tier is a [leat.Importer] or a
// [leat.Splitter] if log is one, and always a [leat.Limiter], a [leat.Submitter] and
// a [leat.Scanner]. It is no [leat.Trimmer], because it cannot keep what that
// promises: what is trimmed is gone, and told. Trim log, which makes room and takes
// nothing from the readers of the tier. What else log can do, such as being closed
// or copied, is asked of log, too.
//
// A stream of which log trims a part while it is read is yielded up to its version
// at that moment, rather than at the call.
func Tier(log leat.Log, a *Archive) leat.Log {
	t := newTier(log, nil)
	t.archive.Store(a)
	return t.capable()
}

// LazyTier returns a [Tier] over an archive that is opened when it is first
// needed, and tried again when that failed: a log can be used while its archive
// cannot be reached, or before it has one. An error of open that is both
// [leat.ErrNotFound] and [fs.ErrNotExist], as that of [Open] is when the store is
// there and the archive is not, says that nothing is archived yet.
func LazyTier(log leat.Log, open func(context.Context) (*Archive, error)) leat.Log {
	return newTier(log, open).capable()
}

// A tier is a log over another one and its archive.
type tier struct {
	leat.Log // the live part
	open     func(context.Context) (*Archive, error)

	opening chan struct{} // holds one token: who takes it may open the archive
	archive atomic.Pointer[Archive]
	same    atomic.Bool // it is known to be the archive of the log

	mu      sync.Mutex
	tails   map[leat.ShardID]link // the last known link of each chain
	resting time.Time             // until then Shards does not ask an archive that failed

	replays replays
}

func newTier(log leat.Log, open func(context.Context) (*Archive, error)) *tier {
	t := &tier{Log: log, open: open, opening: make(chan struct{}, 1), tails: make(map[leat.ShardID]link)}
	t.opening <- struct{}{}
	return t
}

// capable returns the tier with the capabilities of its log.
func (t *tier) capable() leat.Log {
	importer, imports := t.Log.(leat.Importer)
	splitter, splits := t.Log.(leat.Splitter)
	switch {
	case imports && splits:
		return struct {
			*tier
			leat.Importer
			leat.Splitter
		}{t, importer, splitter}
	case imports:
		return struct {
			*tier
			leat.Importer
		}{t, importer}
	case splits:
		return struct {
			*tier
			leat.Splitter
		}{t, splitter}
	}
	return t
}

// Limits implements leat.Limiter.
func (t *tier) Limits() leat.Limits { return leat.LimitsOf(t.Log) }

// Submit implements leat.Submitter.
func (t *tier) Submit(ctx context.Context, events []leat.Event, conds ...leat.Condition) leat.Pending {
	return leat.Submit(ctx, t.Log, events, conds...)
}

// patience is how long Shards waits for the archive, and for how long it does not
// ask one that has failed: who follows the log does not need to know.
const patience = 5 * time.Second

// Shards implements leat.Log.
func (t *tier) Shards(ctx context.Context) ([]leat.Shard, error) {
	shards, err := t.Log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	if a := t.archive.Load(); a != nil {
		if err := t.compare(ctx, a); err != nil {
			return nil, err
		}
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range shards {
		s := &shards[i]
		if s.Oldest == 1 {
			continue
		}
		archived, err := t.endSoon(soon, s.ID, s.Oldest-1)
		if err != nil {
			return nil, err
		}
		if archived >= s.Oldest-1 {
			s.Oldest = 1
		}
	}
	return shards, ctx.Err()
}

// endSoon returns how far a shard is archived. What cannot be found out soon is
// taken for archived as far as is wanted.
func (t *tier) endSoon(ctx context.Context, shard leat.ShardID, want uint64) (uint64, error) {
	if t.rests() {
		return want, nil
	}
	tail, err := t.tail(ctx, shard, want)
	switch {
	case err == nil:
		return tail.Total.Events, nil
	case ctx.Err() == nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, leat.ErrCorrupt):
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resting = time.Now().Add(patience)
	return want, nil
}

// rests reports whether the archive is not to be asked by Shards.
func (t *tier) rests() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.resting)
}

// tail returns the last link of a shard's chain, or one that is known and after
// that which adds a wanted sequence; the zero link when there is none.
func (t *tier) tail(ctx context.Context, shard leat.ShardID, want uint64) (link, error) {
	t.mu.Lock()
	known := t.tails[shard]
	t.mu.Unlock()
	if known.Total.Events >= want {
		return known, nil
	}
	a, err := t.opened(ctx)
	if a == nil || err != nil {
		return link{}, err
	}
	tail, err := a.tail(ctx, shard)
	if err != nil {
		return link{}, t.failed(ctx, "look how far "+string(shard)+" is archived", err)
	}
	if tail.Number == 0 {
		return link{}, nil
	}
	if err := t.compareTail(ctx, tail); err != nil {
		return link{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tails[shard].Number < tail.Number {
		t.tails[shard] = tail
	}
	return tail, nil
}

// opened returns the archive, nil when there is none yet.
func (t *tier) opened(ctx context.Context) (*Archive, error) {
	a := t.archive.Load()
	if a == nil {
		var err error
		if a, err = t.openOnce(ctx); a == nil || err != nil {
			return nil, err
		}
	}
	return a, t.compare(ctx, a)
}

// openOnce opens the archive unless somebody else has.
func (t *tier) openOnce(ctx context.Context) (*Archive, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.opening:
	}
	defer func() { t.opening <- struct{}{} }()
	if a := t.archive.Load(); a != nil {
		return a, nil
	}
	a, err := t.open(ctx)
	if errors.Is(err, leat.ErrNotFound) && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} // otherwise it is the store that is not there, such as a bucket
	if err != nil {
		return nil, t.failed(ctx, "open the archive", err)
	}
	t.archive.Store(a)
	return a, nil
}

// compare returns a [*leat.DivergedError] if the archive is another log's.
func (t *tier) compare(ctx context.Context, a *Archive) error {
	if t.same.Load() {
		return nil
	}
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	if info.ID != a.desc.Log || info.Single != a.desc.Single {
		return &leat.DivergedError{Reason: fmt.Sprintf("the archive is of log %s (single: %v), this is log %s (single: %v)",
			a.desc.Log, a.desc.Single, info.ID, info.Single)}
	}
	t.same.Store(true)
	return nil
}

// compareTail returns a [leat.ErrDiverged] unless what is archived of a shard lies
// on the history of the log. The log is asked after the archive: what was archived
// meanwhile it has.
func (t *tier) compareTail(ctx context.Context, tail link) error {
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	shards, err := t.Log.Shards(ctx)
	if err != nil {
		return err
	}
	if err := compare(ctx, t.Log, info, shards, map[leat.ShardID]link{tail.Shard: tail}); err != nil {
		return fmt.Errorf("compare log %s with its archive: %w", info.ID, err)
	}
	return nil
}

// failed explains why the archive could not be read. What the store says of itself
// is no answer of the log: that it denies something, or does not find it.
func (t *tier) failed(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, leat.ErrCorrupt) || errors.Is(err, leat.ErrDiverged) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %v", doing, ErrUnreachable, err) //nolint:errorlint // see above
}
