package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/leathq/leat"
)

// A scan reads a piece of a shard as [leat.Scanner] does.
type scan func(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error) (leat.Batch, error)

// API is by which method of a log events are read.
type API string

// The methods to read a shard with.
const (
	ReadAPI API = "read" // ReadShard: each event has memory of its own
	ScanAPI API = "scan" // ScanShard, of a leat.Scanner: an event is lent
)

func (a API) of(log leat.Log) (scan, error) {
	if a == ScanAPI {
		s, ok := log.(leat.Scanner)
		if !ok {
			return nil, &leat.InvalidError{Field: "--api", Limit: "read: this log is no leat.Scanner", Got: string(a)}
		}
		return s.ScanShard, nil
	}
	return func(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions, visit func(*leat.Recorded) error) (leat.Batch, error) {
		b, err := log.ReadShard(ctx, shard, after, o)
		for i := 0; err == nil && i < len(b.Events); i++ {
			err = visit(&b.Events[i])
		}
		return b, err
	}, nil
}

// A Replay reads shards of a log from the oldest event to the head as it is at
// the start of a round, the log's own events included, on one goroutine.
type Replay struct {
	Log   leat.Log
	Shard leat.ShardID // all when empty
	API   API
	Limit int               // events of one read; 0: leat.DefaultReadLimit
	Done  func(more uint64) // told of events read; may be nil
}

// Round reads everything once, and checks that no sequence is missing. Latency
// is that of one read.
func (r Replay) Round(ctx context.Context) (*Figures, error) {
	read, err := r.API.of(r.Log)
	if err != nil {
		return nil, err
	}
	shards, err := r.shards(ctx)
	if err != nil {
		return nil, err
	}
	f := &Figures{}
	var sizes sizes
	m := startMeter()
	for _, s := range shards {
		if err := r.shard(ctx, s, read, f, &sizes); err != nil {
			return nil, fmt.Errorf("replay %s: %w", s.ID, err)
		}
	}
	m.stop(f)
	f.EventBytes = sizes.mean()
	return f, nil
}

func (r Replay) shards(ctx context.Context) ([]leat.Shard, error) {
	all, err := r.Log.Shards(ctx)
	if err != nil || r.Shard == "" {
		return all, err
	}
	for _, s := range all {
		if s.ID == r.Shard {
			return []leat.Shard{s}, nil
		}
	}
	return nil, fmt.Errorf("replay %s: the log's shards are %s to %s: %w", r.Shard, all[0].ID, all[len(all)-1].ID, leat.ErrNotFound)
}

func (r Replay) shard(ctx context.Context, s leat.Shard, read scan, f *Figures, sizes *sizes) error {
	seq := s.Oldest - 1
	visit := func(e *leat.Recorded) error {
		if seq++; e.Seq != seq {
			return fmt.Errorf("sequence %d comes where %d should: %w", e.Seq, seq, leat.ErrCorrupt)
		}
		f.DataBytes += uint64(len(e.Data))
		sizes.sample(&e.Event)
		return nil
	}
	o := leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: r.Limit}
	for seq < s.Head {
		before := seq
		began := time.Now()
		if _, err := read(ctx, s.ID, seq, o, visit); err != nil {
			return err
		}
		f.Latency.Add(time.Since(began), 1)
		if seq == before {
			return fmt.Errorf("nothing comes after sequence %d, but the head is %d: %w", seq, s.Head, leat.ErrCorrupt)
		}
		f.Calls++
		f.Events += seq - before
		if r.Done != nil {
			r.Done(seq - before)
		}
	}
	return nil
}

// sizes are those of some of the events that were read.
type sizes struct {
	seen, taken, bytes uint64
}

// sample takes the size of every 64th event, because to look at all would cost
// as much as reading them.
func (s *sizes) sample(e *leat.Event) {
	if s.seen++; s.seen&63 == 1 {
		s.taken++
		s.bytes += uint64(e.Size())
	}
}

func (s *sizes) mean() float64 { return float64(s.bytes) / float64(max(1, s.taken)) }

func (s *sizes) add(o sizes) {
	s.taken += o.taken
	s.bytes += o.bytes
}
