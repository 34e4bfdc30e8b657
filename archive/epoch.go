package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/leathq/leat"
)

// A log that is restored goes on in an epoch of its own, above every one before
// it. An epoch in which nothing was archived has left no manifest, and yet
// somebody may hold a checkpoint of it. So each restore begins with an object in
// the folder of epochs, which is created once: its name is the epoch.

// An epochClaim is an object in the folder of epochs.
type epochClaim struct {
	Format int    `json:"format"`
	Log    string `json:"log"`
	Epoch  uint64 `json:"epoch"`
}

// An endedEpoch is a leat.Epoch as manifests have it.
type endedEpoch struct {
	Number uint64                  `json:"number"`
	Heads  map[leat.ShardID]uint64 `json:"heads"`
}

// checkEnded checks the ended epochs of a manifest.
func (m *manifest) checkEnded(object string) error {
	last := uint64(0)
	for _, e := range m.Ended {
		if e.Number <= last || e.Number >= m.Epoch || m.Kind != kindOpen {
			return corrupt(object, "of kind %q and epoch %d tells of an ended epoch %d", m.Kind, m.Epoch, e.Number)
		}
		last = e.Number
	}
	return nil
}

// endedEpochs is what a manifest of kind open says of the epochs before.
func endedEpochs(info leat.Info) []endedEpoch {
	var ended []endedEpoch
	for _, e := range info.Ended {
		ended = append(ended, endedEpoch{e.Number, e.Heads})
	}
	return ended
}

// Config returns what a log is to be created with, to Restore it. It has the ID
// of the archived log and is in an epoch above all that the log was ever in; what
// is archived now is what the restore keeps of those. Each call takes an epoch for
// good, by creating a small object: the store has to be one that can be written.
//
// The log's shards are those that have a manifest. One whose children are among
// them is closed, even if the archive does not hold its end, which is lost then.
// A child that has none yet, because its archiver was killed between the two,
// is made up from its parent and its sibling; when both have none, they share
// their parent's hash keys evenly. Hash keys of the log's first shards that have
// none yet go to shards of their own.
func (a *Archive) Config(ctx context.Context) (leat.Config, error) {
	c, err := a.config(ctx)
	if err != nil {
		return leat.Config{}, fmt.Errorf("plan to restore log %s: %w", a.desc.Log, err)
	}
	return c, nil
}

func (a *Archive) config(ctx context.Context) (leat.Config, error) {
	shards, tails, err := a.layout(ctx)
	if err != nil {
		return leat.Config{}, err
	}
	if len(shards) == 0 {
		return leat.Config{}, fmt.Errorf("%w: the archive holds no manifests yet", leat.ErrNotFound)
	}
	c := leat.Config{ID: a.desc.Log, Single: a.desc.Single}
	if c.Shards, err = complete(shards); err != nil {
		return leat.Config{}, err
	}
	if c.Ended, err = a.ended(ctx, tails); err != nil {
		return leat.Config{}, err
	}
	kept := leat.Epoch{Heads: checkpoint(a.desc.Log, tails).Seqs}
	if kept.Number, err = a.takeEpoch(ctx, checkpoint(a.desc.Log, tails).Epoch); err != nil {
		return leat.Config{}, err
	}
	kept.Number--
	c.Ended = append(c.Ended, kept)
	return c, nil
}

// layout returns the archived shards and their tails. No child holds events
// before its parents are closed.
func (a *Archive) layout(ctx context.Context) ([]leat.Shard, map[leat.ShardID]link, error) {
	tails, err := a.tails(ctx)
	if err != nil {
		return nil, nil, err
	}
	shards, err := a.shardsOf(ctx, tails)
	if err != nil {
		return nil, nil, err
	}
	for i, s := range shards {
		if s.ID != leat.ShardNumber(i) {
			return nil, nil, corrupt(a.object(manifestFolder(leat.ShardNumber(i))), "holds no manifests, though there are some of %s", s.ID)
		}
		for _, p := range s.Parents {
			if s.Head > 0 && tails[p].Kind != kindClose {
				return nil, nil, corrupt(a.object(manifestName(s.ID, tails[s.ID].Number)), "says there are events, but %s, which comes before, has no end", p)
			}
		}
	}
	return shards, tails, nil
}

// complete makes a layout of what an archiver may have been killed in telling:
// each closed shard has its children, and each shard with children is closed.
func complete(shards []leat.Shard) ([]leat.Shard, error) {
	children := make(map[leat.ShardID][]leat.Shard)
	for _, s := range shards {
		for _, p := range s.Parents {
			children[p] = append(children[p], s)
		}
	}
	for i := range shards {
		s := &shards[i]
		had := children[s.ID]
		if !s.Closed && len(had) == 0 {
			continue
		}
		s.Closed = true
		at := s.Middle()
		if len(had) == 1 && had[0].To.Compare(s.To) < 0 { // the second is missing
			at = *after(had[0].To)
		} else if len(had) > 0 {
			continue
		}
		both, err := s.Children(at, len(shards))
		if err != nil {
			return nil, err
		}
		shards = append(shards, both[len(had)])
		if len(had) == 0 {
			shards = append(shards, both[1])
		} else {
			shards[len(shards)-1].ID = leat.ShardNumber(len(shards) - 1)
		}
	}
	return fillGaps(shards), nil
}

// fillGaps adds shards that own the hash keys of those with which a log began and
// that have no manifest yet.
func fillGaps(shards []leat.Shard) []leat.Shard {
	open := slices.DeleteFunc(slices.Clone(shards), func(s leat.Shard) bool { return s.Closed })
	slices.SortFunc(open, func(a, b leat.Shard) int { return a.From.Compare(b.From) })
	next := &leat.HashKey{}
	for _, s := range open {
		if next != nil && next.Compare(s.From) < 0 {
			shards = append(shards, leat.Shard{ID: leat.ShardNumber(len(shards)), From: *next, To: before(s.From)})
		}
		next = after(s.To)
	}
	if next != nil {
		shards = append(shards, leat.Shard{ID: leat.ShardNumber(len(shards)), From: *next, To: leat.MaxHashKey})
	}
	return shards
}

// before returns the hash key before another, which is not the first.
func before(k leat.HashKey) leat.HashKey {
	for i := len(k) - 1; i >= 0; i-- {
		k[i]--
		if k[i] != 0xff {
			break
		}
	}
	return k
}

// ended returns the epochs before the last archived one, as the archive knows
// them: each manifest that begins an epoch tells of those before it.
func (a *Archive) ended(ctx context.Context, tails map[leat.ShardID]link) ([]leat.Epoch, error) {
	var newest link // that begins the last epoch
	for _, id := range slices.Sorted(maps.Keys(tails)) {
		if tails[id].Epoch <= newest.Epoch {
			continue
		}
		var err error
		if newest, err = a.opening(ctx, tails[id]); err != nil {
			return nil, err
		}
	}
	var ended []leat.Epoch
	for _, e := range newest.Ended {
		ended = append(ended, leat.Epoch(e))
	}
	return ended, nil
}

// opening returns the link that begins the epoch of a link.
func (a *Archive) opening(ctx context.Context, l link) (link, error) {
	var err error
	n := sort.Search(int(l.Number)-1, func(i int) bool {
		before, e := a.link(ctx, l.Shard, uint64(i)+1)
		if e != nil {
			err = e
		}
		return e != nil || before.Epoch >= l.Epoch
	})
	if err != nil {
		return link{}, err
	}
	first, err := a.link(ctx, l.Shard, uint64(n)+1)
	if err == nil && first.Kind != kindOpen {
		err = corrupt(a.object(manifestName(l.Shard, first.Number)), "is of kind %q and begins epoch %d", first.Kind, first.Epoch)
	}
	return first, err
}

// takeEpoch returns an epoch above one and above all that restores took.
func (a *Archive) takeEpoch(ctx context.Context, above uint64) (uint64, error) {
	for name, err := range a.store.List(ctx, a.object(epochsFolder), "") {
		if err != nil {
			return 0, err
		}
		if n, ok := manifestNumber(name); ok {
			above = max(above, n)
		}
	}
	for {
		if above == math.MaxUint64 {
			return 0, corrupt(a.object(epochName(above)), "names the last epoch that there can be: remove it")
		}
		above++
		claim := epochClaim{Format: formatVersion, Log: a.desc.Log, Epoch: above}
		err := a.store.Create(ctx, a.object(epochName(above)), encodeJSON(claim))
		if err == nil {
			return above, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return 0, fmt.Errorf("note in the archive that epoch %d begins: %w", above, err)
		}
	}
}
