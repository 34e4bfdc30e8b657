package rpc

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// logService answers for one log at a time; what it does not say itself is in
// append.go and read.go.
type logService struct {
	leatv1.UnimplementedLogServer
	*Server
}

func (s *logService) Info(ctx context.Context, req *leatv1.InfoRequest) (*leatv1.InfoResponse, error) {
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	info, err := log.Info(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.InfoResponse{Info: wire.FromInfo(info), Limits: wire.FromLimits(limitsOf(log))}, nil
}

// limitsOf returns what a log takes that also fits into a message.
func limitsOf(log leat.Log) leat.Limits {
	l := leat.LimitsOf(log)
	l.EventBytes, l.AppendBytes = min(l.EventBytes, maxAppendBytes), min(l.AppendBytes, maxAppendBytes)
	l.AppendEvents = min(l.AppendEvents, maxAppendEvents)
	return l
}

func (s *logService) Shards(ctx context.Context, req *leatv1.ShardsRequest) (*leatv1.ShardsResponse, error) {
	log, err := s.logs.Log(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ShardsResponse{Shards: wire.FromShards(shards)}, nil
}

func (s *logService) Split(ctx context.Context, req *leatv1.SplitRequest) (*leatv1.SplitResponse, error) {
	log, err := capability[leat.Splitter](ctx, s.logs, req.GetLog(), "split")
	if err != nil {
		return nil, wire.Status(err)
	}
	at, err := wire.HashKey("hash key", req.GetAt())
	if err != nil {
		return nil, wire.Status(err)
	}
	children, err := log.Split(ctx, leat.ShardID(req.GetShard()), at)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.SplitResponse{Children: wire.FromShards(children[:])}, nil
}

func (s *logService) Trim(ctx context.Context, req *leatv1.TrimRequest) (*leatv1.TrimResponse, error) {
	log, err := capability[leat.Trimmer](ctx, s.logs, req.GetLog(), "trimmed")
	if err != nil {
		return nil, wire.Status(err)
	}
	oldest, err := log.Trim(ctx, leat.ShardID(req.GetShard()), req.GetBelow())
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.TrimResponse{Oldest: oldest}, nil
}

func (s *logService) Import(ctx context.Context, req *leatv1.ImportRequest) (*leatv1.ImportResponse, error) {
	log, err := capability[leat.Importer](ctx, s.logs, req.GetLog(), "imported into")
	if err != nil {
		return nil, wire.Status(err)
	}
	shard := leat.ShardID(req.GetShard())
	events := make([]leat.Recorded, len(req.GetEvents()))
	for i, m := range req.GetEvents() {
		events[i] = wire.Recorded(m, shard)
	}
	if err := log.Import(ctx, shard, events); err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ImportResponse{}, nil
}

// capability returns a log as a C, or an error that is leat.ErrUnsupported.
func capability[C any](ctx context.Context, logs Logs, name, done string) (C, error) {
	var none C
	log, err := logs.Log(ctx, name)
	if err != nil {
		return none, err
	}
	c, ok := log.(C)
	if !ok {
		return none, fmt.Errorf("log %q cannot be %s: %w", name, done, leat.ErrUnsupported)
	}
	return c, nil
}
