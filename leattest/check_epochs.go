package leattest

import (
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// restored is what a log says of itself after its third restore.
var restored = leat.Config{ID: "restored-log_1.0", Ended: []leat.Epoch{
	{Number: 1, Heads: map[leat.ShardID]uint64{"shardId-000000000000": 2}},
	{Number: 2},
	{Number: 4, Heads: map[leat.ShardID]uint64{"shardId-000000000000": 3}},
}}

var epochs = []check{
	{name: "a new log is at epoch 1", prove: func(t *lab) {
		info := t.info()
		equal(t, "Epoch", info.Epoch, 1)
		equal(t, "Ended", len(info.Ended), 0)
		equal(t, "Single", info.Single, false)
		equal(t, "Created", info.Created.UnixNano(), t.clock.Now().UnixNano())
		equal(t, "length of the ID", len(info.ID), 36)
		equal(t, "Epoch of a batch", t.readShard(t.shards()[0].ID, 0, leat.ReadOptions{}).Epoch, 1)
	}},
	{name: "a restored log tells its epochs", config: restored, prove: func(t *lab) {
		for range 2 {
			info := t.info()
			equal(t, "ID", info.ID, restored.ID)
			equal(t, "Epoch", info.Epoch, 5)
			equal(t, "Ended", fmt.Sprint(info.Ended), fmt.Sprint(restored.Ended))
			equal(t, "Epoch of a batch", t.readShard(t.shards()[0].ID, 0, leat.ReadOptions{}).Epoch, 5)
			t.reopen()
		}
	}},
	{name: "reading beyond the head has diverged", prove: func(t *lab) {
		r := t.appendTo("a-1")
		for _, after := range []uint64{2, 1 << 40, 1<<64 - 1} {
			_, err := t.log.ReadShard(t.ctx, r.Shard, after, leat.ReadOptions{Wait: time.Hour})
			t.is(err, leat.ErrDiverged, fmt.Sprintf("read after %d, beyond the head 1", after))
		}
		_, err := t.log.ReadShard(t.ctx, leat.ShardNumber(3), 0, leat.ReadOptions{})
		t.is(err, leat.ErrNotFound, "read an unknown shard")
		_, err = t.log.ReadShard(t.ctx, "nonsense", 0, leat.ReadOptions{})
		t.is(err, leat.ErrNotFound, "read an unknown shard")
	}},
	{name: "a checkpoint off the log's history has diverged", config: restored, prove: func(t *lab) {
		for range 4 {
			t.appendTo("a-1")
		}
		at := func(log string, epoch, seq uint64) leat.Checkpoint {
			return leat.Checkpoint{Log: log, Epoch: epoch, Seqs: map[leat.ShardID]uint64{t.shards()[0].ID: seq}}
		}
		unknown := leat.Checkpoint{Log: restored.ID, Epoch: 5, Seqs: map[leat.ShardID]uint64{leat.ShardNumber(1): 1}}
		for _, c := range []struct {
			from leat.Checkpoint
			good bool
		}{
			{leat.Checkpoint{}, true},
			{at(restored.ID, 5, 4), true},
			{at(restored.ID, 5, 5), false},
			{at(restored.ID, 4, 3), true},
			{at(restored.ID, 4, 4), false},
			{at(restored.ID, 3, 3), true},
			{at(restored.ID, 2, 1), false},
			{at(restored.ID, 1, 0), true},
			{at(restored.ID, 1, 1), false},
			{at(restored.ID, 6, 1), false},
			{at("other", 5, 1), false},
			{unknown, false},
		} {
			what := "read from " + c.from.String()
			if c.good {
				t.ok(readError(t, c.from), what)
				continue
			}
			t.is(readError(t, c.from), leat.ErrDiverged, what)
			t.is(followError(t, c.from), leat.ErrDiverged, what)
		}
	}},
}
