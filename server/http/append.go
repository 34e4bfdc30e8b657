package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

type appendInput struct {
	InLog
	Body struct {
		Events     []eventjson.Event `json:"events" doc:"Recorded together, in this order, or not at all."`
		Conditions []Condition       `json:"conditions,omitempty" doc:"All must hold, or nothing is recorded."`
	}
}

// A Condition is what an append expects of a stream.
type Condition struct {
	Stream  string  `json:"stream" doc:"The stream; it need not be one that the append writes."`
	Version *uint64 `json:"version,omitempty" doc:"The version it must have; 0 is a stream without events. Either this or exists."`
	Exists  bool    `json:"exists,omitempty" doc:"It must have at least one event."`
}

type appendOutput struct {
	Status int
	Body   eventjson.Receipt
}

func (a *api) registerAppend() {
	register(a, huma.Operation{
		OperationID: "append", Method: http.MethodPost, Path: "/v1/logs/{log}/events", Summary: "Append events",
		Description: "Answers when the events are durable: 201, or 200 if they had been recorded before. " +
			"All streams need one route key, unless the log is single. " +
			"Sending the same events, with their IDs, again is always safe.",
		DefaultStatus: http.StatusCreated,
		Responses: map[string]*huma.Response{
			"200": {Description: "All events had been recorded before; the receipt is the first one's."},
		},
	}, a.append)
}

func (a *api) append(ctx context.Context, in *appendInput) (*appendOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	events, err := eventsOf(in.Body.Events)
	if err != nil {
		return nil, err
	}
	conds, err := conditionsOf(in.Body.Conditions)
	if err != nil {
		return nil, err
	}
	receipt, err := log.Append(ctx, events, conds...)
	if err != nil {
		return nil, err
	}
	out := &appendOutput{Status: http.StatusCreated, Body: eventjson.FromReceipt(receipt, events)}
	if receipt.Duplicate {
		out.Status = http.StatusOK
	}
	return out, nil
}

func eventsOf(in []eventjson.Event) ([]leat.Event, error) {
	events := make([]leat.Event, len(in))
	for i := range in {
		var err error
		if events[i], err = in[i].Event(); err != nil {
			var invalid *leat.InvalidError
			if errors.As(err, &invalid) {
				invalid.Field = fmt.Sprintf("events[%d].%s", i, invalid.Field)
			}
			return nil, err
		}
	}
	return events, nil
}

func conditionsOf(in []Condition) ([]leat.Condition, error) {
	conds := make([]leat.Condition, len(in))
	for i, c := range in {
		switch {
		case c.Exists && c.Version == nil:
			conds[i] = leat.ExpectExists(c.Stream)
		case !c.Exists && c.Version != nil:
			conds[i] = leat.ExpectVersion(c.Stream, *c.Version)
		default:
			return nil, &leat.InvalidError{
				Field: fmt.Sprintf("conditions[%d]", i), Limit: `a stream and either "version" or "exists": true`,
			}
		}
	}
	return conds, nil
}
