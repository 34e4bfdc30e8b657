package http

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leathq/leat"
)

const (
	eventStream = "text/event-stream"
	jsonLines   = "application/x-ndjson"
)

// heartbeat is how often a follower hears something when there is nothing to
// tell, so that both ends find out when the other is gone.
const heartbeat = 15 * time.Second

type followInput struct {
	InLog
	From   string `query:"from" doc:"Go on after this checkpoint."`
	Since  string `query:"since" doc:"Only what was committed since: a time (RFC 3339) or now. The oldest that is kept when neither from nor since is given." example:"now"`
	LastID string `header:"Last-Event-ID" doc:"What a browser sends when it connects again; goes before from and since."`
	Accept string `header:"Accept" doc:"text/event-stream, the default, or application/x-ndjson for a batch as one JSON object a line."`
	Filter
}

func (a *api) registerFollow() {
	lines := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[followLine](), true, "")
	register(a, huma.Operation{
		OperationID: "follow", Method: http.MethodGet, Path: "/v1/logs/{log}/events", Summary: "Follow a log",
		Description: "Sends the events after a checkpoint, and goes on with those to come, across splits. " +
			"As Server-Sent Events each message is an event, and its id is the checkpoint after it: browsers send it back " +
			"as Last-Event-ID when they connect again. A message with the event name problem ends a stream that failed.",
		Responses: map[string]*huma.Response{
			"200": {Description: "Events, without end.", Content: map[string]*huma.MediaType{
				eventStream: {Schema: &huma.Schema{Type: huma.TypeString}},
				jsonLines:   {Schema: lines},
			}},
		},
	}, a.follow)
}

func (a *api) follow(ctx context.Context, in *followInput) (*huma.StreamResponse, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	from, err := in.start(ctx, log)
	if err != nil {
		return nil, err
	}
	write, mediaType, err := in.form()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
		f := &follower{api: a, w: w, control: http.NewResponseController(w), form: write, at: from.Clone()}
		f.run(hc.Context(), log, in.filter())
	}}, nil
}

// start returns the checkpoint to go on from, which lies on the log's history.
func (in *followInput) start(ctx context.Context, log leat.Log) (leat.Checkpoint, error) {
	text, field := in.From, "from"
	if in.LastID != "" {
		text, field = in.LastID, "Last-Event-ID"
	}
	if text == "" {
		since, err := parseSince(in.Since)
		if err != nil {
			return leat.Checkpoint{}, err
		}
		return leat.Start(ctx, log, since)
	}
	if in.Since != "" && in.LastID == "" {
		return leat.Checkpoint{}, &leat.InvalidError{Field: "since", Limit: "absent when from is given"}
	}
	from, err := leat.ParseCheckpoint(text)
	if err != nil {
		return from, &leat.InvalidError{Field: field, Limit: `a checkpoint, "LOG@EPOCH,SHARD=SEQ,…"`, Got: fmt.Sprintf("%q", cut(text))}
	}
	info, shards, err := leatLog(ctx, log)
	if err != nil {
		return from, err
	}
	if err := from.Verify(info, shards); err != nil {
		return from, err
	}
	from.Log = info.ID
	return from, nil
}

func parseSince(s string) (time.Time, error) {
	switch s {
	case "":
		return time.Time{}, nil
	case "now":
		return leat.Now, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, &leat.InvalidError{Field: "since", Limit: "a time (RFC 3339) or now", Got: fmt.Sprintf("%q", cut(s))}
	}
	return t, nil
}

// form returns how to write, as the client accepts it.
func (in *followInput) form() (form, string, error) {
	switch {
	case in.Accept == "", strings.Contains(in.Accept, eventStream), strings.Contains(in.Accept, "*/*"):
		return messages{}, eventStream, nil
	case strings.Contains(in.Accept, jsonLines):
		return objects{}, jsonLines, nil
	}
	return nil, "", &Problem{Status: http.StatusNotAcceptable, Code: "not_acceptable", Field: "Accept",
		Limit: eventStream + " or " + jsonLines, Got: cut(in.Accept),
		Detail: "Accept must be " + eventStream + " or " + jsonLines}
}
