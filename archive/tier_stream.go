package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/leathq/leat"
)

// ReadStream implements leat.Log.
func (t *tier) ReadStream(ctx context.Context, stream string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		s := tierStream{tier: t, stream: stream, rest: r, yield: yield}
		for !s.done {
			if trimmed := s.live(ctx); trimmed != nil {
				s.archived(ctx, trimmed)
			}
		}
	}
}

// A tierStream yields the events of one stream.
type tierStream struct {
	tier   *tier
	stream string
	rest   leat.Range // still to be yielded
	bound  bool       // rest ends at a version that the stream had
	done   bool
	yield  func(leat.Recorded, error) bool
}

// live yields what the log keeps of the rest. It returns what the log says when it
// does not keep it all; otherwise that was the end.
func (s *tierStream) live(ctx context.Context) *leat.TrimmedError {
	for e, err := range s.tier.Log.ReadStream(ctx, s.stream, s.rest) {
		if err != nil {
			var trimmed *leat.TrimmedError
			if errors.As(err, &trimmed) {
				return trimmed
			}
			s.fail(err)
			return nil
		}
		if !s.event(e) {
			return nil
		}
	}
	s.done = true
	return nil
}

// archived yields what the log has trimmed of the rest. Oldest first, what the log
// keeps comes after that.
func (s *tierStream) archived(ctx context.Context, trimmed *leat.TrimmedError) {
	a, err := s.tier.whole(ctx, s.stream)
	if err == nil && a != nil {
		err = s.bind(ctx)
	}
	switch {
	case err != nil:
		s.fail(err)
		return
	case a == nil:
		s.fail(trimmed)
		return
	}
	part := s.rest
	if last := trimmed.Oldest - 1; part.Through == 0 || part.Through > last {
		part.Through = last
	}
	for e, err := range a.Stream(ctx, s.stream, part) {
		if err != nil {
			s.fail(s.tier.failed(ctx, fmt.Sprintf("read stream %q from the archive", s.stream), err))
			return
		}
		if !s.event(e) {
			return
		}
	}
	if s.rest.Reversed() || s.rest.After < part.Through {
		s.fail(fmt.Errorf("%w: the archive of log %s does not hold all versions of stream %q below %d, where the log begins",
			leat.ErrCorrupt, a.desc.Log, s.stream, trimmed.Oldest))
	}
}

// whole returns the archive if it holds all that the log has trimmed of the shards
// that a stream lived in, nil otherwise.
func (t *tier) whole(ctx context.Context, stream string) (*Archive, error) {
	a, err := t.opened(ctx)
	if a == nil || err != nil {
		return nil, err
	}
	shards, err := t.Log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	hash := leat.RouteHash(stream)
	for _, s := range shards {
		if s.Oldest == 1 || !s.Owns(hash) {
			continue
		}
		if tail, err := t.tail(ctx, s.ID, s.Oldest-1); err != nil || tail.Total.Events < s.Oldest-1 {
			return nil, err
		}
	}
	return a, nil
}

// bind ends the rest at the version that the stream has, before anything of it is
// yielded that was archived: reading that may take long.
func (s *tierStream) bind(ctx context.Context) error {
	if s.bound || s.rest.Reversed() {
		return nil
	}
	version, err := s.tier.version(ctx, s.stream)
	if err != nil {
		return err
	}
	s.bound = true
	if s.rest.Through == 0 || s.rest.Through > version {
		s.rest.Through = version
	}
	return nil
}

// version returns the version of a stream.
func (t *tier) version(ctx context.Context, stream string) (uint64, error) {
	for e, err := range t.Log.ReadStream(ctx, stream, leat.Range{}.Reverse()) {
		var trimmed *leat.TrimmedError
		if errors.As(err, &trimmed) {
			return trimmed.Oldest - 1, nil
		}
		return e.Version, err
	}
	return 0, nil
}

// event yields an event, and reports whether to go on.
func (s *tierStream) event(e leat.Recorded) bool {
	if s.rest.Reversed() {
		s.rest.Through = e.Version - 1
		s.done = s.rest.Through <= s.rest.After
	} else {
		s.rest.After = e.Version
		s.done = s.rest.Through > 0 && s.rest.After >= s.rest.Through
	}
	if !s.yield(e, nil) {
		s.done = true
	}
	return !s.done
}

func (s *tierStream) fail(err error) {
	s.done = true
	s.yield(leat.Recorded{}, err)
}
