package http

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// Filter is how reads choose events.
type Filter struct {
	Stream   []string `query:"stream,explode" doc:"Only these streams; may be repeated."`
	Category []string `query:"category,explode" doc:"Only streams of these categories, what stands before the first - of a name; may be repeated."`
	Type     []string `query:"type,explode" doc:"Only events of these types; may be repeated."`
	System   bool     `query:"system" doc:"Also the log's own events, of streams that start with $."`
}

func (f Filter) filter() leat.Filter {
	return leat.Filter{Streams: f.Stream, Categories: f.Category, Types: f.Type, System: f.System}
}

type readStreamInput struct {
	InLog
	Stream  string `path:"stream" doc:"The stream's name, percent-encoded."`
	After   uint64 `query:"after" doc:"Only versions above this one."`
	Through uint64 `query:"through" doc:"Only versions up to this one; all when left out."`
	Reverse bool   `query:"reverse" doc:"Newest first."`
	Limit   int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"End after this many events."`
}

type readStreamOutput struct {
	Body struct {
		Stream string            `json:"stream"`
		Events []eventjson.Event `json:"events" doc:"In the order of their versions."`
		More   bool              `json:"more" doc:"There are more in the range: go on after the last version, or through the one before it in reverse."`
	}
}

type readShardInput struct {
	InLog
	Shard string `path:"shard" doc:"The shard's ID."`
	After uint64 `query:"after" doc:"Only events after this sequence: the next of the last batch."`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"End after this many events that match, finishing the append."`
	Wait  string `query:"wait" default:"0s" doc:"How long to wait for a first event when there is none, such as 20s; at most 1m." example:"20s"`
	Filter
}

type readShardOutput struct {
	Body eventjson.Batch
}

func (a *api) registerRead() {
	register(a, huma.Operation{
		OperationID: "read-stream", Method: http.MethodGet, Path: "/v1/logs/{log}/streams/{stream}",
		Summary:     "Read a stream",
		Description: "A stream without events is an empty list. Ends after limit events or 16 MiB.",
	}, a.readStream)
	register(a, huma.Operation{
		OperationID: "read-shard", Method: http.MethodGet, Path: "/v1/logs/{log}/shards/{shard}/events",
		Summary: "Read a shard",
		Description: "Returns the events after a sequence, in order, and next, from where to go on; next advances also " +
			"where nothing matches. A checkpoint of the whole log is such a sequence for each shard.",
	}, a.readShard)
}

func (a *api) readStream(ctx context.Context, in *readStreamInput) (*readStreamOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	r := leat.Range{After: in.After, Through: in.Through}
	if in.Reverse {
		r = r.Reverse()
	}
	out := &readStreamOutput{}
	out.Body.Stream, out.Body.Events = in.Stream, []eventjson.Event{}
	bytes := 0
	for e, err := range log.ReadStream(ctx, in.Stream, r) {
		if len(out.Body.Events) == in.Limit || bytes > leat.MaxReadBytes {
			out.Body.More = true // events, or an error that the next page tells
			break
		}
		if err != nil {
			return nil, err
		}
		out.Body.Events = append(out.Body.Events, eventjson.FromRecorded(&e))
		bytes += e.Size()
	}
	return out, nil
}

// maxWait is the longest that a read waits for events.
const maxWait = time.Minute

func (a *api) readShard(ctx context.Context, in *readShardInput) (*readShardOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	wait, err := duration("wait", in.Wait)
	if err == nil && wait > maxWait {
		err = &leat.InvalidError{Field: "wait", Limit: fmt.Sprintf("at most %v", maxWait), Got: wait.String()}
	}
	if err != nil {
		return nil, err
	}
	b, err := log.ReadShard(ctx, leat.ShardID(in.Shard), in.After, leat.ReadOptions{Filter: in.filter(), Limit: in.Limit, Wait: wait})
	if err != nil {
		return nil, err
	}
	return &readShardOutput{eventjson.FromBatch(b)}, nil
}
