package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/check"
)

// An audit is what reading the whole log finds.
type audit struct {
	read    atomic.Int64      // events so far
	types   map[string]int64  // events of each type
	streams map[string]uint64 // versions
	holes   []string          // events whose version or sequence is not the one after the last
	twice   []string          // events whose ID their stream had before

	ids   map[eventID]struct{}
	seeds [2]maphash.Seed
	once  map[string]map[string]struct{} // of types that may occur once in a stream: the streams that have one
}

// eventID stands for a stream and an ID in it. Two of them are taken for one
// with a probability of 2^-128 times their number squared.
type eventID [2]uint64

// newAudit returns an audit of a log in which events of the given types may occur
// once in a stream.
func newAudit(once ...string) *audit {
	a := &audit{
		types: make(map[string]int64), streams: make(map[string]uint64),
		ids: make(map[eventID]struct{}), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		once: make(map[string]map[string]struct{}),
	}
	for _, t := range once {
		a.once[t] = make(map[string]struct{})
	}
	return a
}

// readLog reads every event up to a checkpoint.
func (a *audit) readLog(ctx context.Context, log leat.Log, to leat.Checkpoint) error {
	shards, err := log.Shards(ctx)
	if err != nil {
		return fmt.Errorf("audit the log: %w", err)
	}
	for _, s := range shards {
		if err := a.readShard(ctx, log, s.ID, to.Seqs[s.ID]); err != nil {
			return fmt.Errorf("audit the log: %w", err)
		}
	}
	return nil
}

func (a *audit) readShard(ctx context.Context, log leat.Log, shard leat.ShardID, to uint64) error {
	var last uint64
	for last < to {
		b, err := log.ReadShard(ctx, shard, last, leat.ReadOptions{Limit: 4096, Filter: leat.Filter{System: true}})
		if err != nil {
			return err
		}
		for i := range b.Events {
			r := &b.Events[i]
			if r.Seq != last+1 {
				a.holes = append(a.holes, fmt.Sprintf("%s: %d after %d", shard, r.Seq, last))
			}
			last = r.Seq
			a.event(r)
		}
		if b.Next > last {
			a.holes = append(a.holes, fmt.Sprintf("%s: nothing up to %d after %d", shard, b.Next, last))
			last = b.Next
		}
	}
	return nil
}

func (a *audit) event(r *leat.Recorded) {
	a.read.Add(1)
	a.types[r.Type]++
	if r.Version != a.streams[r.Stream]+1 {
		a.holes = append(a.holes, fmt.Sprintf("%s: version %d after %d", r.Stream, r.Version, a.streams[r.Stream]))
	}
	a.streams[r.Stream] = r.Version

	var id eventID
	for i, seed := range a.seeds {
		id[i] = maphash.Comparable(seed, [2]string{r.Stream, r.ID})
	}
	if _, known := a.ids[id]; known {
		a.twice = append(a.twice, fmt.Sprintf("%s: %s", r.Stream, r.ID))
	}
	a.ids[id] = struct{}{}

	if streams, ok := a.once[r.Type]; ok {
		streams[r.Stream] = struct{}{}
	}
}

// occurrences counts the events of a type and the streams that have one.
func (a *audit) occurrences(typ string) check.Occurrences {
	return check.Occurrences{Events: a.types[typ], Of: int64(len(a.once[typ]))}
}

// results returns what the audit says of the log as checks.
func (a *audit) results() []check.Result {
	return []check.Result{
		a.none("log: versions of every stream are 1, 2, 3 …", fmt.Sprintf("%s streams", thousands(int64(len(a.streams)))), a.holes),
		a.none("log: no event ID twice in a stream", fmt.Sprintf("%s events", thousands(a.read.Load())), a.twice),
	}
}

// none is a check that nothing was found.
func (a *audit) none(name, of string, found []string) check.Result {
	r := check.Result{Name: name, Expected: of + ", 0 wrong", OK: len(found) == 0}
	r.Actual = fmt.Sprintf("%s, %d wrong", of, len(found))
	for _, f := range found[:min(3, len(found))] {
		r.Actual += "; " + f
	}
	return r
}
