package http

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// InShard is the part of the input that names a shard.
type InShard struct {
	InLog
	Shard string `path:"shard" doc:"The shard's ID."`
}

type shardsOutput struct {
	Body struct {
		Shards []eventjson.Shard `json:"shards" doc:"Closed ones included, parents before children."`
	}
}

type splitInput struct {
	InShard
	Body struct {
		At string `json:"at,omitempty" doc:"The first hash key of the second child; the middle when left out."`
	}
}

type trimInput struct {
	InShard
	Body struct {
		Below uint64 `json:"below" doc:"Remove the events below this sequence. An append is never divided."`
	}
}

type trimOutput struct {
	Body struct {
		Oldest uint64 `json:"oldest" doc:"The first sequence that is now kept."`
	}
}

func (a *api) registerShards() {
	register(a, huma.Operation{
		OperationID: "list-shards", Method: http.MethodGet, Path: "/v1/logs/{log}/shards", Summary: "List the shards",
	}, a.listShards)
	register(a, huma.Operation{
		OperationID: "split-shard", Method: http.MethodPost, Path: "/v1/logs/{log}/shards/{shard}/split",
		Summary:     "Split a shard",
		Description: "Closes an open shard and opens two that share its hash keys; no stream loses its order.",
	}, a.splitShard)
	register(a, huma.Operation{
		OperationID: "trim-shard", Method: http.MethodPost, Path: "/v1/logs/{log}/shards/{shard}/trim",
		Summary:     "Forget a shard's oldest events",
		Description: "Stream versions and event IDs are kept for good. The removal is recorded in the stream $log.",
	}, a.trimShard)
}

func (a *api) listShards(ctx context.Context, in *InLog) (*shardsOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	out := &shardsOutput{}
	out.Body.Shards = eventjson.FromShards(shards)
	return out, nil
}

func (a *api) splitShard(ctx context.Context, in *splitInput) (*shardsOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	at, err := splitKey(ctx, log, leat.ShardID(in.Shard), in.Body.At)
	if err != nil {
		return nil, err
	}
	splitter, ok := log.(leat.Splitter)
	if !ok {
		return nil, fmt.Errorf("split a shard of log %q: %w", in.Log, leat.ErrUnsupported)
	}
	children, err := splitter.Split(ctx, leat.ShardID(in.Shard), at)
	if err != nil {
		return nil, err
	}
	out := &shardsOutput{}
	out.Body.Shards = eventjson.FromShards(children[:])
	return out, nil
}

// splitKey returns the hash key at which to split a shard.
func splitKey(ctx context.Context, log leat.Log, id leat.ShardID, at string) (leat.HashKey, error) {
	var key leat.HashKey
	if at != "" {
		return key, key.UnmarshalText([]byte(at))
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return key, err
	}
	for _, s := range shards {
		if s.ID == id {
			return s.Middle(), nil
		}
	}
	return key, fmt.Errorf("shard %q: %w", cut(string(id)), leat.ErrNotFound)
}

func (a *api) trimShard(ctx context.Context, in *trimInput) (*trimOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	trimmer, ok := log.(leat.Trimmer)
	if !ok {
		return nil, fmt.Errorf("trim a shard of log %q: %w", in.Log, leat.ErrUnsupported)
	}
	out := &trimOutput{}
	out.Body.Oldest, err = trimmer.Trim(ctx, leat.ShardID(in.Shard), in.Body.Below)
	return out, err
}
