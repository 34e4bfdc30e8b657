package leattest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leathq/leat"
)

// audit reads the whole log, by shards and by streams, and fails the test
// unless the two agree and hold what is promised of every log at any moment. A
// closed log is not audited.
func (t *lab) audit() {
	t.Helper()
	shards, err := t.log.Shards(t.ctx)
	if errors.Is(err, leat.ErrClosed) {
		return
	}
	t.ok(err, "audit")
	streams := make(map[string][]leat.Recorded)
	lastAt := make(map[leat.ShardID]time.Time)
	trimmed := false
	for i, s := range shards {
		equal(t, "audit: shard number", s.ID, leat.ShardNumber(i))
		trimmed = trimmed || s.Oldest > 1
		var last time.Time
		for _, p := range s.Parents {
			at, ok := lastAt[p]
			if !ok {
				t.Fatalf("audit: %s comes before its parent %s", s.ID, p)
			}
			if at.After(last) {
				last = at
			}
		}
		for _, e := range t.auditShard(s, last) {
			streams[e.Stream] = append(streams[e.Stream], e)
			last = e.At
		}
		lastAt[s.ID] = last
	}
	if (leat.OpenShard(shards, leat.HashKey{}) < 0) || leat.OpenShard(shards, leat.MaxHashKey) < 0 {
		t.Fatalf("audit: open shards do not own all hash keys: %v", shards)
	}
	for name, events := range streams {
		t.auditStream(name, events, trimmed)
	}
}

// auditShard returns what a shard keeps, read in small batches.
func (t *lab) auditShard(s leat.Shard, after time.Time) []leat.Recorded {
	t.Helper()
	var events []leat.Recorded
	next := s.Oldest - 1
	for limit := 1; next < s.Head; limit++ {
		b := t.readShard(s.ID, next, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: limit})
		if len(b.Events) == 0 || b.Next != b.Events[len(b.Events)-1].Seq {
			t.Fatalf("audit: batch of %s after %d has Next %d and events %v", s.ID, next, b.Next, seqs(b.Events))
		}
		if first := b.Events[0]; first.Seq != first.Commit {
			t.Fatalf("audit: the batch before sequence %d of %s ended inside the append from %d on", first.Seq, s.ID, first.Commit)
		}
		events, next = append(events, b.Events...), b.Next
	}
	same(t, fmt.Sprintf("audit: sequences of %s", s.ID), seqs(events), span(s.Oldest, s.Head))
	commit := uint64(0)
	for _, e := range events {
		if e.Commit == e.Seq {
			commit = e.Seq
		}
		equal(t, fmt.Sprintf("audit: commit of sequence %d", e.Seq), e.Commit, commit)
		equal(t, "audit: shard of an event", e.Shard, s.ID)
		if !e.At.After(after) {
			t.Fatalf("audit: At of sequence %d of %s is %v, not after %v before it", e.Seq, s.ID, e.At, after)
		}
		if !s.Owns(leat.RouteHash(e.Stream)) {
			t.Fatalf("audit: stream %q is in %s, which does not own its hash key", e.Stream, s.ID)
		}
		after = e.At
	}
	return events
}

// auditStream compares a stream as it is read with its events in the shards.
func (t *lab) auditStream(name string, want []leat.Recorded, trimmed bool) {
	t.Helper()
	first := want[0].Version
	same(t, fmt.Sprintf("audit: versions of %q in its shards", name), versions(want), span(first, first+uint64(len(want))-1))
	if first > 1 && !trimmed {
		t.Fatalf("audit: stream %q begins at version %d, though nothing is trimmed", name, first)
	}
	ids := make(map[string]bool)
	for _, e := range want {
		if ids[e.ID] {
			t.Fatalf("audit: ID %q is twice in stream %q", e.ID, name)
		}
		ids[e.ID] = true
	}
	what := fmt.Sprintf("audit: stream %q", name)
	got, err := t.tryStream(name, leat.Range{After: first - 1})
	t.ok(err, what)
	sameEvents(t, what, got, want)
	slices.Reverse(got)
	reversed, err := t.tryStream(name, leat.Range{After: first - 1}.Reverse())
	t.ok(err, what+" in reverse")
	sameEvents(t, what+" in reverse", reversed, got)
	if first > 1 {
		_, err := t.tryStream(name, leat.Range{})
		equal(t, what+": oldest", as[*leat.TrimmedError](t, err, what).Oldest, first)
	}
}
