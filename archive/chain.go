package archive

import (
	"context"
	"iter"
	"sort"
	"sync"

	"github.com/leathq/leat"
)

// maxLinks is how many links an archive keeps in memory.
const maxLinks = 4096

// A linkCache keeps links, which never change.
type linkCache struct {
	mu    sync.Mutex
	links map[linkName]link
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
