package archive

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"sort"
	"sync"

	"github.com/leathq/leat"
)

// maxLinks is how many links an archive keeps in memory.
const maxLinks = 4096

// A linkCache keeps links, which never change, and where chains ended when that
// was looked for last.
type linkCache struct {
	mu    sync.Mutex
	links map[linkName]link
	ends  map[leat.ShardID]uint64
}

type linkName struct {
	shard  leat.ShardID
	number uint64
}

func (c *linkCache) get(n linkName) (link, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.links[n]
	return l, ok
}

func (c *linkCache) put(n linkName, l link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) >= maxLinks {
		clear(c.links)
	}
	if c.links == nil {
		c.links = make(map[linkName]link)
	}
	c.links[n] = l
}

// end returns the number of a manifest of a shard that is there for sure, 0 when
// none is known.
func (c *linkCache) end(shard leat.ShardID) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ends[shard]
}

func (c *linkCache) setEnd(shard leat.ShardID, number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends == nil {
		c.ends = make(map[leat.ShardID]uint64)
	}
	c.ends[shard] = max(number, c.ends[shard])
}

// tail returns the last link of a shard's chain, the zero link when there is
// none. It does not follow the chain.
func (a *Archive) tail(ctx context.Context, shard leat.ShardID) (link, error) {
	last, err := a.lastNumber(ctx, shard)
	if err != nil || last == 0 {
		return link{}, err
	}
	return a.link(ctx, shard, last)
}

// listed is how many names are listed before the end of a chain is looked for in
// leaps: a store returns about that many at a time.
const listed = 1000

// lastNumber returns the number of the last manifest of a shard, 0 when there is
// none. A chain of years is not listed: in leaps it takes as many requests as twice
// the logarithm of the thousands of manifests that were added since this archive
// looked last. What comes after the one found is then listed, so the number is never
// that before a hole. Of a hole that the leaps pass over, whoever follows the chain
// is told.
func (a *Archive) lastNumber(ctx context.Context, shard leat.ShardID) (uint64, error) {
	last := a.links.end(shard)
	for {
		var more bool
		var err error
		if last, more, err = a.listFrom(ctx, shard, last); err != nil {
			return 0, err
		}
		a.links.setEnd(shard, last)
		if !more {
			return last, nil
		}
		if last, err = a.leap(ctx, shard, last); err != nil {
			return 0, err
		}
	}
}

// listFrom lists the manifests of a shard after one and returns the number of the
// last, and whether there may be more than it has listed.
func (a *Archive) listFrom(ctx context.Context, shard leat.ShardID, last uint64) (end uint64, more bool, err error) {
	after := ""
	if last > 0 {
		after = path.Base(manifestName(shard, last))
	}
	enough := last + listed
	for name, err := range a.store.List(ctx, a.object(manifestFolder(shard)), after) {
		if err != nil {
			return 0, false, err
		}
		number, ok := manifestNumber(name)
		if !ok {
			continue
		}
		if number != last+1 {
			return 0, false, corrupt(a.object(manifestName(shard, last+1)), "is missing, though number %d exists", number)
		}
		if last = number; last == enough {
			return last, true, nil
		}
	}
	return last, false, nil
}

// leap goes from a manifest of a shard that is there to one that has few after it:
// it doubles its steps for as long as it finds one, and then halves them.
func (a *Archive) leap(ctx context.Context, shard leat.ShardID, last uint64) (uint64, error) {
	step, back := uint64(listed), false
	for step >= listed && step < 1<<62 {
		_, err := a.store.Size(ctx, a.object(manifestName(shard, last+step)))
		switch {
		case err == nil:
			last += step
		case errors.Is(err, fs.ErrNotExist):
			back = true
		default:
			return 0, err
		}
		if back {
			step /= 2
		} else {
			step *= 2
		}
	}
	return last, nil
}

// link returns a link of a shard's chain, the zero link for number 0. It checks
// what can be checked without the one before it, its signature included.
func (a *Archive) link(ctx context.Context, shard leat.ShardID, number uint64) (link, error) {
	name := linkName{shard, number}
	if l, ok := a.links.get(name); ok || number == 0 {
		return l, nil
	}
	object := a.object(manifestName(shard, number))
	data, err := a.get(ctx, object)
	if err != nil {
		return link{}, err
	}
	l, err := decodeLink(object, data, a.desc.Log, shard, number)
	if err == nil {
		_, err = l.verify(object, a.keys)
	}
	if err != nil {
		return link{}, err
	}
	a.links.put(name, l)
	return l, nil
}

// find returns the link that adds the segment with a sequence, which is archived:
// last is the last link, or a later one than that of the sequence. It reads as
// many manifests as the logarithm of their number.
func (a *Archive) find(ctx context.Context, shard leat.ShardID, seq uint64, last link) (link, error) {
	var err error
	n := sort.Search(int(last.Number)-1, func(i int) bool {
		l, e := a.link(ctx, shard, uint64(i)+1)
		if e != nil {
			err = e
		}
		return e != nil || l.Total.Events >= seq
	})
	if err != nil {
		return link{}, err
	}
	l, err := a.link(ctx, shard, uint64(n)+1)
	if err == nil && (l.Segment == nil || seq < l.Segment.First || seq > l.Segment.Last) {
		err = corrupt(a.object(manifestName(shard, l.Number)), "does not add the segment with sequence %d, nor does another", seq)
	}
	return l, err
}

// chainFrom yields the links of a shard's chain from the one on that adds a
// sequence, each verified against the one before it, up to the last one.
func (a *Archive) chainFrom(ctx context.Context, shard leat.ShardID, seq uint64, last link) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		l, err := a.find(ctx, shard, seq, last)
		if !yield(l, err) || err != nil {
			return
		}
		a.chain(ctx, l, last, yield)
	}
}

// chain yields the links after one, each verified against the one before it, up
// to the last one.
func (a *Archive) chain(ctx context.Context, l, last link, yield func(link, error) bool) {
	for l.Number < last.Number {
		var err error
		l, err = a.follow(ctx, last.Shard, l)
		if !yield(l, err) || err != nil {
			return
		}
	}
}

// follow returns the link after another.
func (a *Archive) follow(ctx context.Context, shard leat.ShardID, prev link) (link, error) {
	object := a.object(manifestName(shard, prev.Number+1))
	data, err := a.get(ctx, object)
	if err != nil {
		return link{}, err
	}
	l, err := decodeManifest(object, data, a.desc.Log, shard, prev)
	if err == nil {
		_, err = l.verify(object, a.keys)
	}
	return l, err
}
