package leattest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// Trim implements leat.Trimmer.
func (l *Log) Trim(ctx context.Context, id leat.ShardID, below uint64) (uint64, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return 0, err
	}
	s := l.shard(id)
	switch {
	case s == nil:
		return 0, l.noShard(id)
	case below > s.Head+1:
		return 0, &leat.InvalidError{
			Field: "below", Limit: fmt.Sprintf("at most %d, one above the head of %s", s.Head+1, id), Got: fmt.Sprint(below),
		}
	case below <= s.Oldest:
		return s.Oldest, nil
	}
	oldest := below
	if below <= s.Head {
		oldest = s.events[below-s.Oldest].Commit
	}
	if oldest == s.Oldest {
		return oldest, nil
	}
	for _, p := range s.Parents {
		if !l.trimmedWhole(p) {
			return 0, &leat.InvalidError{
				Field: "shard", Limit: "one whose parents keep no events, to be trimmed", Got: fmt.Sprintf("%s, a child of %s", id, p),
			}
		}
	}
	data, err := json.Marshal(leat.Trimmed{Shard: id, From: s.Oldest, Oldest: oldest})
	if err != nil {
		return 0, err
	}
	l.record(l.openShard(leat.RouteHash(leat.SystemStream)), []leat.Event{{
		ID: leat.NewID(), Stream: leat.SystemStream, Type: leat.TypeTrimmed, Source: leat.SystemSource, Data: data,
	}})
	s.events = slices.Clone(s.events[oldest-s.Oldest:])
	s.Oldest = oldest
	return oldest, nil
}

// Split implements leat.Splitter.
func (l *Log) Split(ctx context.Context, id leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return [2]leat.Shard{}, err
	}
	s := l.shard(id)
	switch {
	case l.info.Single:
		return [2]leat.Shard{}, fmt.Errorf("split %s of a single log: %w", id, leat.ErrUnsupported)
	case s == nil:
		return [2]leat.Shard{}, l.noShard(id)
	case s.Closed:
		return [2]leat.Shard{}, &leat.InvalidError{Field: "shard", Limit: "open, to be split", Got: fmt.Sprintf("%s, closed", id)}
	}
	children, err := s.Children(at, len(l.shards))
	if err != nil {
		return [2]leat.Shard{}, err
	}
	s.Closed = true
	for _, c := range children {
		l.shards = append(l.shards, &shard{Shard: cloneShard(c)})
	}
	l.wake()
	return children, nil
}

// Import implements leat.Importer.
func (l *Log) Import(ctx context.Context, id leat.ShardID, events []leat.Recorded) error {
	if err := leat.CheckImport(id, events); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if err := l.lock(ctx); err != nil {
		return err
	}
	s := l.shard(id)
	if s == nil {
		return l.noShard(id)
	}
	if len(events) == 0 {
		return nil
	}
	if err := l.continues(s, events[0]); err != nil {
		return err
	}
	if err := l.streamsContinue(s, events); err != nil {
		return err
	}
	if s.Head == 0 {
		s.Oldest = events[0].Seq
	}
	for _, r := range events {
		l.add(s, r)
	}
	l.wake()
	return nil
}

// continues reports why a first event does not continue a shard.
func (l *Log) continues(s *shard, first leat.Recorded) error {
	if s.Head > 0 && first.Seq != s.Head+1 {
		return misfit(0, "seq", fmt.Sprintf("%d, the one after the head of %s", s.Head+1, s.ID), first.Seq)
	}
	for _, p := range s.Parents {
		if first.Seq > s.Head+1 && !l.trimmedWhole(p) {
			return misfit(0, "seq", fmt.Sprintf("1, because the parent %s keeps events", p), first.Seq)
		}
	}
	if last := l.lastAt(s); !first.At.After(last) {
		return misfit(0, "at", "later than "+last.Format(time.RFC3339Nano)+", the last before it", first.At.Format(time.RFC3339Nano))
	}
	for _, d := range l.shards {
		if d.Head > 0 && l.descends(d, s.ID) {
			return &leat.InvalidError{
				Field: "shard", Limit: "one whose descendants hold no events", Got: fmt.Sprintf("%s, from which %s descends", s.ID, d.ID),
			}
		}
	}
	return nil
}

// streamsContinue reports why events do not continue their streams.
func (l *Log) streamsContinue(s *shard, events []leat.Recorded) error {
	startsTrimmed := s.Head == 0 && events[0].Seq > 1 || l.startsTrimmed(s)
	type name struct{ stream, id string }
	given := make(map[name]bool)
	versions := make(map[string]uint64)
	for i, r := range events {
		st := l.stream(r.Stream)
		version, ok := versions[r.Stream]
		if !ok {
			version = st.version()
		}
		if !s.Owns(leat.RouteHash(r.Stream)) {
			return misfit(i, "stream", "one whose hash key "+string(s.ID)+" owns", fmt.Sprintf("%q", r.Stream))
		}
		if _, known := st.find(r.ID); known || given[name{r.Stream, r.ID}] {
			return misfit(i, "id", "one that its stream does not have", fmt.Sprintf("%q", r.ID))
		}
		if r.Version != version+1 && (version > 0 || !startsTrimmed) {
			return misfit(i, "version", fmt.Sprintf("%d, the one after the last of %q", version+1, r.Stream), r.Version)
		}
		given[name{r.Stream, r.ID}] = true
		versions[r.Stream] = r.Version
	}
	return nil
}

func misfit(i int, field, limit string, got any) error {
	return &leat.InvalidError{Field: fmt.Sprintf("events[%d].%s", i, field), Limit: limit, Got: fmt.Sprint(got)}
}

// shard returns a shard, nil when there is none of that ID.
func (l *Log) shard(id leat.ShardID) *shard {
	i := slices.IndexFunc(l.shards, func(s *shard) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return l.shards[i]
}

func (l *Log) noShard(id leat.ShardID) error {
	return fmt.Errorf("shard %q of log %s: %w", id, l.info.ID, leat.ErrNotFound)
}

// openShard returns the shard to which events of a hash key are written.
func (l *Log) openShard(key leat.HashKey) *shard {
	i := slices.IndexFunc(l.shards, func(s *shard) bool { return !s.Closed && s.Owns(key) })
	return l.shards[i]
}

// lastAt returns the At that the next event of a shard has to exceed.
func (l *Log) lastAt(s *shard) time.Time {
	last := s.lastAt
	for _, p := range s.Parents {
		if at := l.lastAt(l.shard(p)); at.After(last) {
			last = at
		}
	}
	return last
}

// descends reports whether a shard continues another, directly or not.
func (l *Log) descends(s *shard, from leat.ShardID) bool {
	return slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return p == from || l.descends(l.shard(p), from) })
}

// startsTrimmed reports whether a shard or one it descends from has lost its
// beginning.
func (l *Log) startsTrimmed(s *shard) bool {
	return s.Oldest > 1 || slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return l.startsTrimmed(l.shard(p)) })
}

// trimmedWhole reports whether a shard, and all it descends from, keep no events.
func (l *Log) trimmedWhole(id leat.ShardID) bool {
	s := l.shard(id)
	return s.Oldest == s.Head+1 && !slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return !l.trimmedWhole(p) })
}

func cloneShard(s leat.Shard) leat.Shard {
	s.Parents = slices.Clone(s.Parents)
	return s
}

func cloneEpochs(epochs []leat.Epoch) []leat.Epoch {
	epochs = slices.Clone(epochs)
	for i := range epochs {
		epochs[i].Heads = maps.Clone(epochs[i].Heads)
	}
	return epochs
}
