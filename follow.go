package leat

import (
	"context"
	"iter"
	"sync"
	"time"
)

// followWait is how long one ReadShard of Follow waits for events.
const followWait = 20 * time.Second

// Follow yields the events that match f after from, and goes on with those to
// come, until the loop is left, ctx ends, or the log returns an error, which is
// then the last pair. Each Batch is of one shard. A shard's batches come in
// order, those of a child after the last of its parents, those of other shards
// in between. Checkpoint.Advance moves a checkpoint past a Batch.
//
// A Batch without events tells that the reader got on without a match, that the
// shard has nothing to read at the start, or that it is finished.
//
// Shards are read concurrently, each one Batch ahead.
func Follow(ctx context.Context, log Log, f Filter, from Checkpoint) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		fl := &follower{
			log: log, filter: f, from: from.Clone(),
			started: make(map[ShardID]bool), finished: make(map[ShardID]bool),
			batches: make(chan batchOrError),
		}
		defer fl.wg.Wait()
		defer cancel()
		err := fl.start(ctx)
		for err == nil {
			var b Batch
			if b, err = fl.next(ctx); err != nil {
				break
			}
			if !yield(b, nil) {
				return
			}
			if b.Closed {
				fl.finished[b.Shard] = true
				err = fl.start(ctx)
			}
		}
		yield(Batch{}, err)
	}
}

// A follower merges the shards of a log for Follow. Its fields belong to the
// goroutine of Follow; those that read shards only send on batches.
type follower struct {
	log    Log
	filter Filter
	from   Checkpoint // how far Follow has yielded
	epoch  uint64     // for which from was verified

	started, finished map[ShardID]bool

	wg      sync.WaitGroup
	batches chan batchOrError
}

type batchOrError struct {
	Batch
	err error
}

// start reads the shards that are not yet read and whose parents are finished.
func (fl *follower) start(ctx context.Context) error {
	if fl.epoch == 0 {
		if err := fl.verify(ctx, Batch{}); err != nil {
			return err
		}
	}
	shards, err := fl.log.Shards(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if fl.started[s.ID] || !fl.parentsFinished(s) {
			continue
		}
		fl.started[s.ID] = true
		after := fl.from.Seqs[s.ID]
		fl.wg.Go(func() { fl.readShard(ctx, s.ID, after) })
	}
	return nil
}

func (fl *follower) parentsFinished(s Shard) bool {
	for _, p := range s.Parents {
		if !fl.finished[p] {
			return false
		}
	}
	return true
}

// verify checks that from, and a batch that was read, lie on the history of the
// log as it is now.
func (fl *follower) verify(ctx context.Context, b Batch) error {
	info, err := fl.log.Info(ctx)
	if err != nil {
		return err
	}
	shards, err := fl.log.Shards(ctx)
	if err != nil {
		return err
	}
	if err := fl.from.Verify(info, shards); err != nil {
		return err
	}
	read := Checkpoint{Log: info.ID, Epoch: b.Epoch, Seqs: map[ShardID]uint64{b.Shard: b.Next}}
	if err := read.Verify(info, shards); err != nil {
		return err
	}
	fl.from.Log, fl.from.Epoch, fl.epoch = info.ID, info.Epoch, info.Epoch
	return nil
}

// next returns the next batch of any shard. When the log was restored since the
// last one, or after this one was read, what was yielded and what was read must
// still be on its history.
func (fl *follower) next(ctx context.Context) (Batch, error) {
	select {
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	case b := <-fl.batches:
		if b.err != nil {
			return Batch{}, b.err
		}
		if b.Epoch != fl.epoch {
			if err := fl.verify(ctx, b.Batch); err != nil {
				return Batch{}, err
			}
			b.Epoch = fl.epoch
		}
		fl.from.Advance(b.Batch)
		return b.Batch, nil
	}
}

// readShard sends the batches of a shard until it is finished, an error was
// sent, or ctx has ended.
func (fl *follower) readShard(ctx context.Context, shard ShardID, after uint64) {
	o := ReadOptions{Filter: fl.filter}
	for {
		b, err := fl.log.ReadShard(ctx, shard, after, o)
		if err != nil || b.Closed || b.Next > after || o.Wait == 0 {
			select {
			case fl.batches <- batchOrError{b, err}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil || b.Closed {
			return
		}
		after, o.Wait = b.Next, followWait
	}
}
