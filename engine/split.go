package engine

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/leathq/leat"
)

// Split implements leat.Splitter.
func (l *Log) Split(ctx context.Context, shard leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	op := &splitOp{log: l, shard: shard, at: at}
	if err := l.do(ctx, op, aloneBytes); err != nil {
		return [2]leat.Shard{}, err
	}
	return [2]leat.Shard{cloneShard(op.children[0]), cloneShard(op.children[1])}, nil
}

type splitOp struct {
	log      *Log
	shard    leat.ShardID
	at       leat.HashKey
	children [2]leat.Shard
}

func (o *splitOp) apply(c *committer) error {
	t := c.find(o.shard)
	switch {
	case c.single:
		return fmt.Errorf("split %s of a single log: %w", o.shard, leat.ErrUnsupported)
	case t == nil:
		return o.log.noShard(o.shard)
	case t.Closed:
		return &leat.InvalidError{Field: "shard", Limit: "open, to be split", Got: string(o.shard) + ", closed"}
	}
	children, err := t.Children(o.at, len(c.shards))
	if err != nil {
		return err
	}
	if err := c.space.take(0); err != nil {
		return err
	}
	t.Closed = true
	changed := []*tail{t}
	for _, child := range children {
		changed = append(changed, &tail{Shard: child, parents: []*tail{t}, number: uint32(len(c.shards)), bell: new(bell)})
		c.shards = append(c.shards, changed[len(changed)-1])
	}
	c.setRoutes()
	o.children = children
	c.save(changed...)
	return nil
}

// save writes what the blocks of shards do not tell.
func (c *committer) save(changed ...*tail) {
	c.cutBlocks() // what comes before
	for _, t := range changed {
		text := t.text(c.begun.group + 1)
		c.out = appendItem(c.out, itemShard, 4+len(text))
		c.out = append(binary.LittleEndian.AppendUint32(c.out, t.number), text...)
		c.touch(t)
	}
}

// textsOf describes shards before a group.
func textsOf(shards []*tail, group uint64) [][]byte {
	texts := make([][]byte, len(shards))
	for i, t := range shards {
		texts[i] = t.text(group)
	}
	return texts
}
