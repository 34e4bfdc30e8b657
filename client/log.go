package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// Limits implements leat.Limiter. They are those of the log when Dial was
// called.
func (l *Log) Limits() leat.Limits { return l.limits }

// Info implements leat.Log.
func (l *Log) Info(ctx context.Context) (leat.Info, error) {
	var info leat.Info
	err := l.conn.call(ctx, func(ctx context.Context) error {
		m, err := l.rpc.Info(ctx, &leatv1.InfoRequest{Log: l.name})
		info = wire.Info(m.GetInfo())
		return err
	})
	if err != nil {
		return leat.Info{}, l.failed("info", err)
	}
	return info, nil
}

// Shards implements leat.Log.
func (l *Log) Shards(ctx context.Context) ([]leat.Shard, error) {
	var m *leatv1.ShardsResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = l.rpc.Shards(ctx, &leatv1.ShardsRequest{Log: l.name})
		return err
	})
	if err != nil {
		return nil, l.failed("shards", err)
	}
	shards, err := wire.Shards(m.GetShards())
	if err != nil {
		return nil, l.failed("shards", err)
	}
	l.known.learn(shards)
	return shards, nil
}

// Trim implements leat.Trimmer.
func (l *Log) Trim(ctx context.Context, shard leat.ShardID, below uint64) (uint64, error) {
	var m *leatv1.TrimResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = l.rpc.Trim(ctx, &leatv1.TrimRequest{Log: l.name, Shard: valid(shard), Below: below})
		return err
	})
	if err != nil {
		return 0, l.failed("trim "+string(shard), err)
	}
	return m.GetOldest(), nil
}

// Split implements leat.Splitter. When the answer is lost, it finds out whether
// the shard was split meanwhile before it tries again.
func (l *Log) Split(ctx context.Context, shard leat.ShardID, at leat.HashKey) ([2]leat.Shard, error) {
	var children []leat.Shard
	latest, lost := l.known.latest(), false
	err := l.conn.call(ctx, func(ctx context.Context) error {
		if lost {
			if done, err := l.splitSince(ctx, latest, shard, at); err != nil || done != nil {
				children = done
				return err
			}
		}
		lost = true
		m, err := l.rpc.Split(ctx, &leatv1.SplitRequest{Log: l.name, Shard: valid(shard), At: at[:]})
		if err == nil {
			children, err = wire.Shards(m.GetChildren())
		}
		return err
	})
	switch {
	case err != nil:
		return [2]leat.Shard{}, l.failed("split "+string(shard), err)
	case len(children) != 2:
		return [2]leat.Shard{}, l.failed("split "+string(shard), fmt.Errorf("the server answered with %d shards instead of 2", len(children)))
	}
	l.known.learn(children)
	return [2]leat.Shard(children), nil
}

// splitSince returns the two children into which a shard was split at a key since
// another shard was the log's last, nil when it was not.
func (l *Log) splitSince(ctx context.Context, latest, shard leat.ShardID, at leat.HashKey) ([]leat.Shard, error) {
	m, err := l.rpc.Shards(ctx, &leatv1.ShardsRequest{Log: l.name})
	if err != nil {
		return nil, err
	}
	shards, err := wire.Shards(m.GetShards())
	if err != nil {
		return nil, err
	}
	for i := range shards[:max(0, len(shards)-1)] {
		s := shards[i : i+2]
		if s[0].ID > latest && len(s[0].Parents) == 1 && s[0].Parents[0] == shard && len(s[1].Parents) == 1 && s[1].Parents[0] == shard && s[1].From == at {
			return s, nil
		}
	}
	return nil, nil
}

// Import implements leat.Importer. The events of one call go in one message, so
// they are 40 MiB together at most. Import asks for the shard's head first: when
// the answer is lost, a head that has moved to the last of them says that they
// were recorded, since nobody else writes to the shard meanwhile.
func (l *Log) Import(ctx context.Context, shard leat.ShardID, events []leat.Recorded) error {
	if err := leat.CheckImport(shard, events); err != nil {
		return err
	}
	req := &leatv1.ImportRequest{Log: l.name, Shard: valid(shard)}
	for i := range events {
		req.Events = append(req.Events, wire.FromRecorded(&events[i], shard))
	}
	if err := checkSize("events", req); err != nil {
		return err
	}
	var before *uint64 // the head before anything was sent
	err := l.conn.call(ctx, func(ctx context.Context) error {
		if len(events) > 0 {
			head, err := l.head(ctx, shard)
			switch last := events[len(events)-1].Seq; {
			case err != nil:
				return err
			case before == nil:
				before = &head
			case *before < last && head == last:
				return nil // recorded, and the answer was lost
			}
		}
		_, err := l.rpc.Import(ctx, req)
		return err
	})
	return l.failed("import into "+string(shard), err)
}

// head returns the last sequence of a shard, 0 for a shard that is not there.
func (l *Log) head(ctx context.Context, shard leat.ShardID) (uint64, error) {
	m, err := l.rpc.Shards(ctx, &leatv1.ShardsRequest{Log: l.name})
	if err != nil {
		return 0, err
	}
	for _, s := range m.GetShards() {
		if s.GetId() == string(shard) {
			return s.GetHead(), nil
		}
	}
	return 0, nil
}

// failed says what was being done when err happened. The log's own errors say
// that themselves.
func (l *Log) failed(doing string, err error) error {
	if err == nil || !errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%s of %s://%s/%s: %w", doing, Scheme, l.conn.address, l.name, err)
}
