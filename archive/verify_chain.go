package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// fetchAhead is how many manifests are asked for at a time.
const fetchAhead = 32

// chain reads and checks the manifests of a shard, one after the other. Those
// that are damaged are reported and left out.
func (v *verification) chain(ctx context.Context, shard leat.ShardID, index uint32) (*verifiedChain, error) {
	numbers, err := v.numbers(ctx, shard)
	if err != nil {
		return nil, err
	}
	c := &verifiedChain{shard: shard, index: index, whole: true}
	for len(numbers) > 0 {
		some := numbers[:min(len(numbers), fetchAhead)]
		numbers = numbers[len(some):]
		data, failed := make([][]byte, len(some)), make([]error, len(some))
		var g errgroup.Group
		for i, n := range some {
			g.Go(func() error {
				data[i], failed[i] = v.archive.get(ctx, v.archive.object(manifestName(shard, n)))
				return nil
			})
		}
		_ = g.Wait() // the errors are in failed
		for i, n := range some {
			if err := v.manifest(c, n, data[i], failed[i]); err != nil {
				return nil, err
			}
		}
	}
	if c.last > c.tail().Number {
		c.whole = false
		v.end(c)
	}
	v.report.Manifests += uint64(len(c.links))
	return c, nil
}

// numbers returns the numbers of a shard's manifests.
func (v *verification) numbers(ctx context.Context, shard leat.ShardID) ([]uint64, error) {
	var numbers []uint64
	folder := v.archive.object(manifestFolder(shard))
	for name, err := range v.archive.store.List(ctx, folder, "") {
		if err != nil {
			return nil, err
		}
		if n, ok := manifestNumber(name); ok && n > 0 {
			numbers = append(numbers, n)
		} else {
			v.note(folder+name, "is no manifest", "readers ignore it")
		}
	}
	return numbers, nil
}

// manifest checks one manifest and adds it to its chain.
func (v *verification) manifest(c *verifiedChain, number uint64, data []byte, err error) error {
	object := v.archive.object(manifestName(c.shard, number))
	prev := c.tail()
	v.missing(c, number)
	c.last = number
	var l link
	if err == nil {
		l, err = decodeLink(object, data, v.archive.desc.Log, c.shard, number)
	}
	if err == nil {
		_, err = l.manifest.verify(object, v.archive.keys)
	}
	if err != nil {
		c.whole = false
		return v.fault(object, err, "what it said does not count; put back a copy of it, or read the archive up to it")
	}
	if prev.Number == number-1 {
		if err := l.follows(object, prev); err != nil {
			c.whole = false
			if err := v.fault(object, err, "two chains were signed, and this is a mixture of them"); err != nil {
				return err
			}
		}
		v.order(c, l)
	} else if n := l.Total.Events - l.events(); n > prev.Total.Events {
		c.skip(span{prev.Total.Events + 1, n})
	}
	c.links = append(c.links, l)
	return nil
}

// events returns how many events a link adds.
func (l link) events() uint64 {
	if l.Segment == nil {
		return 0
	}
	return l.Segment.Events
}

// missing reports the manifests that should stand between the last and one.
func (v *verification) missing(c *verifiedChain, number uint64) {
	const each = 100
	for n := c.last + 1; n < number; n++ {
		c.whole = false
		if n > c.last+each {
			v.problem(v.archive.object(manifestName(c.shard, n)), fmt.Sprintf("is missing, and so are those after it up to number %d", number-1), "")
			return
		}
		v.problem(v.archive.object(manifestName(c.shard, n)), fmt.Sprintf("is missing, though number %d exists", number),
			"readers refuse the shard; put back a copy of it, or write it anew: the segment it named may be there still")
	}
}

// order checks that the events of a link were committed after those before them,
// and that the shard has not changed its place.
func (v *verification) order(c *verifiedChain, l link) {
	object := v.archive.object(manifestName(c.shard, l.Number))
	if l.Lineage != nil && l.Number > 1 {
		if was := c.opened(); was != nil && (was.From != l.Lineage.From || was.To != l.Lineage.To || !slices.Equal(was.Parents, l.Lineage.Parents)) {
			v.problem(object, "gives the shard another place among the others than its first manifest", "streams may be looked for in the wrong shard")
		}
	}
	if l.Segment == nil {
		return
	}
	for _, before := range slices.Backward(c.links) {
		if before.Segment == nil {
			continue
		}
		if !l.Segment.MinAt.After(before.Segment.MaxAt) {
			v.problem(object, "holds events that were committed before those of the manifest before it", "the order of events cannot be told from their times")
		}
		return
	}
}

// end reports where a chain ends whose last manifests are damaged.
func (v *verification) end(c *verifiedChain) {
	v.note(v.archive.object(manifestFolder(c.shard)), fmt.Sprintf("counts up to number %d", c.tail().Number),
		fmt.Sprintf("the archive of %s ends at sequence %d", c.shard, c.tail().Total.Events))
}

// lineage checks that the shards make one log: each continues shards that are
// there and closed, and together they own every hash key.
func (v *verification) lineage(ctx context.Context) error {
	complete, continued := true, make(map[leat.ShardID]bool)
	for _, shard := range slices.Sorted(maps.Keys(v.chains)) {
		c := v.chains[shard]
		l := c.opened()
		if l == nil {
			complete = complete && c.last == 0 // an archiver that was killed left the folder empty
			continue
		}
		for _, p := range l.Parents {
			continued[p] = true
			if err := v.parent(ctx, c, p); err != nil {
				return err
			}
		}
	}
	if !complete {
		return nil
	}
	next := new(leat.HashKey) // the key that no shard owns yet, nil beyond the last
	for _, c := range v.openChains(continued) {
		l := c.opened()
		switch {
		case next == nil || l.From.Compare(*next) < 0:
			v.problem(v.archive.object(manifestName(c.shard, 1)), fmt.Sprintf("gives the shard hash keys from %s on that another open one has", l.From),
				"streams may be in two shards")
		case l.From != *next:
			if err := v.uncovered(ctx, *next, l.From); err != nil {
				return err
			}
		}
		next = after(l.To)
	}
	if next != nil {
		return v.uncovered(ctx, *next, leat.MaxHashKey)
	}
	return nil
}

// openChains returns the chains of shards that no other continues, by hash key.
func (v *verification) openChains(continued map[leat.ShardID]bool) []*verifiedChain {
	var open []*verifiedChain
	for shard, c := range v.chains {
		if !continued[shard] && c.opened() != nil {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *verifiedChain) int { return a.opened().From.Compare(b.opened().From) })
	return open
}

// after returns the hash key after another, nil after the last.
func after(k leat.HashKey) *leat.HashKey {
	for i := len(k) - 1; i >= 0; i-- {
		k[i]++
		if k[i] != 0 {
			return &k
		}
	}
	return nil
}

// uncovered reports hash keys that no shard owns, unless an archiver is just
// beginning more shards.
func (v *verification) uncovered(ctx context.Context, from, to leat.HashKey) error {
	shards, err := v.archive.shards(ctx)
	if err != nil || len(shards) != len(v.chains) {
		return err
	}
	v.problem(v.archive.object(manifestsFolder), fmt.Sprintf("holds no shard with the hash keys from %s to %s", from, to),
		"the chain of a shard was removed, or an archiver was stopped while it began the shards of a log: start it again and verify again")
	return nil
}

// epochs checks the objects with which restores took epochs.
func (v *verification) epochs(ctx context.Context) error {
	folder := v.archive.object(epochsFolder)
	for name, err := range v.archive.store.List(ctx, folder, "") {
		if err != nil {
			return err
		}
		object := folder + name
		number, ok := manifestNumber(name)
		if !ok {
			v.note(object, "is not of an epoch", "readers ignore it")
			continue
		}
		var claim epochClaim
		data, err := v.archive.get(ctx, object)
		if err == nil {
			err = decodeJSON(object, data, &claim)
		}
		if err == nil && (claim.Log != v.archive.desc.Log || claim.Epoch != number) {
			err = corrupt(object, "is about epoch %d of log %q", claim.Epoch, claim.Log)
		}
		if err := v.fault(object, err, "no event is touched; that a restore took this epoch is known from its name"); err != nil {
			return err
		}
	}
	return nil
}

// parent checks a shard against one that it continues.
func (v *verification) parent(ctx context.Context, c *verifiedChain, parent leat.ShardID) error {
	p := v.chains[parent]
	if p == nil {
		v.problem(v.archive.object(manifestName(parent, 1)), fmt.Sprintf("is missing: %s continues that shard", c.shard),
			"nothing of that shard can be read; put back its manifests from a copy")
		return nil
	}
	i := slices.IndexFunc(c.links, func(l link) bool { return l.Segment != nil })
	if i < 0 {
		return nil
	}
	begin := c.links[i]
	if tail := p.tail(); p.whole && tail.Kind != kindClose {
		if grown, err := v.grown(ctx, p); grown || err != nil {
			return err
		}
		v.problem(v.archive.object(manifestName(parent, p.last+1)), fmt.Sprintf("is missing: %s has events, so the chain of %s was closed before", c.shard, parent),
			fmt.Sprintf("the chain was cut off; events of %s after sequence %d may be gone", parent, tail.Total.Events))
	}
	for _, l := range slices.Backward(p.links) {
		if l.Segment == nil {
			continue
		}
		if !begin.Segment.MinAt.After(l.Segment.MaxAt) {
			v.problem(v.archive.object(manifestName(c.shard, begin.Number)), fmt.Sprintf("holds events that were committed before the last of %s, which the shard continues", parent),
				"the order of events cannot be told from their times")
		}
		break
	}
	return nil
}

// grown reports whether an archiver has added to a chain since it was read.
func (v *verification) grown(ctx context.Context, c *verifiedChain) (bool, error) {
	_, err := v.archive.store.Size(ctx, v.archive.object(manifestName(c.shard, c.last+1)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// leftovers finds segments that no manifest names. Most were left by an archiver
// that was killed; some tell that manifests are gone.
func (v *verification) leftovers(ctx context.Context) error {
	folders := v.archive.object("segments/")
	for folder, err := range v.archive.store.List(ctx, folders, "") {
		if err != nil {
			return err
		}
		shard, ok := folderShard(folder)
		if !ok {
			v.note(folders+folder, "is not of a shard", "readers ignore it")
			continue
		}
		if err := v.leftoversOf(ctx, shard); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) leftoversOf(ctx context.Context, shard leat.ShardID) error {
	c := v.chains[shard]
	if c == nil {
		c = &verifiedChain{shard: shard, whole: true}
	}
	named := make(map[string]bool)
	for _, l := range c.links {
		if l.Segment != nil {
			named[l.Segment.Object] = true
		}
	}
	tail := c.tail()
	folder, told := "segments/"+string(shard)+"/", false
	for name, err := range v.archive.store.List(ctx, v.archive.object(folder), "") {
		if err != nil {
			return err
		}
		object := v.archive.object(folder + name)
		s, ok := segmentRange(name)
		switch {
		case named[folder+name]:
		case !ok:
			v.note(object, "is no segment", "readers ignore it")
		case !told && c.whole && (tail.Number == 0 || s.first > tail.Total.Events+1):
			if grown, err := v.grown(ctx, c); grown || err != nil {
				return err // the rest is of what was added, too
			}
			told = true
			v.problem(v.archive.object(manifestName(shard, c.last+1)), fmt.Sprintf("is missing: %s was made after it", object),
				fmt.Sprintf("the chain was cut off: at least sequences %d to %d were archived, and readers do not see them", tail.Total.Events+1, s.first-1))
		default:
			v.note(object, "is named by no manifest that counts", "it is not part of the archive: an archiver was stopped before it wrote the manifest, or the manifest is damaged")
		}
	}
	return nil
}

// segmentRange reads the sequences from the name of a segment.
func segmentRange(name string) (span, bool) {
	var s span
	base, ok := strings.CutSuffix(name, ".parquet")
	if _, err := fmt.Sscanf(base, "%020d-%020d", &s.first, &s.last); err != nil || !ok || s.first == 0 {
		return span{}, false
	}
	return s, true
}

// known checks that what was signed earlier is still there.
func (v *verification) known(ctx context.Context) error {
	for i, signed := range splitNotes(v.options.Known) {
		k, err := parseCheckpoint(signed, v.archive.keys)
		if err != nil {
			return fmt.Errorf("known checkpoint %d: %w", i+1, err)
		}
		if k.Log != v.archive.desc.Log {
			return fmt.Errorf("known checkpoint %d: %w", i+1, &leat.InvalidError{
				Field: "log", Limit: "that of the archive, " + v.archive.desc.Log, Got: k.Log})
		}
		if err := v.knownOne(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) knownOne(ctx context.Context, k *Checkpoint) error {
	object := v.archive.object(manifestName(k.Shard, k.Number))
	c := v.chains[k.Shard]
	if c == nil || k.Number > c.last {
		v.problem(object, fmt.Sprintf("is missing: it was signed when %s had %d events", k.Shard, k.Size),
			"the chain was cut off at its end, and what came after is not seen")
		return nil
	}
	i, found := slices.BinarySearchFunc(c.links, k.Number, func(l link, n uint64) int { return int(int64(l.Number) - int64(n)) })
	if !found {
		return nil // damaged, and reported
	}
	if same, err := c.links[i].statement(); err == nil && same.text() == k.text() {
		return nil
	}
	// The chain was made anew from there on. The events may be the same.
	root, err := v.rootAt(ctx, c, k.Size)
	switch {
	case errors.Is(err, leat.ErrCorrupt):
		v.note(object, "is another one than was signed earlier", "whether it holds the same events cannot be told, because of what is damaged")
	case err != nil:
		return err
	case root != k.Root:
		v.problem(object, fmt.Sprintf("is another one than was signed earlier, when %s had %d events with the root %s", k.Shard, k.Size, encodeHash(k.Root)),
			"events that were archived have been changed or removed")
	default:
		v.note(object, "is another one than was signed earlier", "the chain was made anew, with the same events")
	}
	return nil
}

// rootAt returns the root of the tree of a chain's first events.
func (v *verification) rootAt(ctx context.Context, c *verifiedChain, size uint64) (tlog.Hash, error) {
	if size > c.tail().Total.Events {
		return tlog.Hash{}, nil
	}
	if size == 0 {
		empty := edge{}
		return empty.root(), nil
	}
	return tlog.TreeHash(int64(size), &treeReader{ctx: ctx, archive: v.archive, shard: c.shard, tail: c.tail()})
}
