package http

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// InLog is the part of the input of operations on one log.
type InLog struct {
	Log string `path:"log" doc:"The log's name."`
}

type logsOutput struct {
	Body struct {
		Logs []string `json:"logs" doc:"The names of the logs, sorted."`
	}
}

type logOutput struct {
	Body eventjson.Log
}

type createLogInput struct {
	Body struct {
		Name   string `json:"name" doc:"1 to 64 characters a-z, 0-9, - or _." example:"orders"`
		ID     string `json:"id,omitempty" doc:"The log's ID; a UUID when left out."`
		Shards int    `json:"shards,omitempty" minimum:"1" maximum:"1024" doc:"Into how many shards to divide the log; 1 when left out. They can be split later."`
		Single bool   `json:"single,omitempty" doc:"One shard for good: total order, and appends that write any streams at once."`
	}
}

type createLogOutput struct {
	Location string `header:"Location"`
	Body     eventjson.Log
}

func (a *api) registerLogs() {
	register(a, huma.Operation{
		OperationID: "list-logs", Method: http.MethodGet, Path: "/v1/logs", Summary: "List the logs",
	}, a.listLogs)
	register(a, huma.Operation{
		OperationID: "create-log", Method: http.MethodPost, Path: "/v1/logs", Summary: "Create a log",
		DefaultStatus: http.StatusCreated,
	}, a.createLog)
	register(a, huma.Operation{
		OperationID: "get-log", Method: http.MethodGet, Path: "/v1/logs/{log}", Summary: "Show what a log is and holds",
	}, a.getLog)
}

func (a *api) listLogs(ctx context.Context, _ *struct{}) (*logsOutput, error) {
	names, err := a.Logs.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &logsOutput{}
	out.Body.Logs = append([]string{}, names...) // [] when there is none
	return out, nil
}

func (a *api) createLog(ctx context.Context, in *createLogInput) (*createLogOutput, error) {
	c := leat.Config{ID: in.Body.ID, Single: in.Body.Single, Shards: leat.EvenShards(max(1, in.Body.Shards))}
	if _, err := a.Logs.Create(ctx, in.Body.Name, c); err != nil {
		return nil, err
	}
	out, err := a.getLog(ctx, &InLog{Log: in.Body.Name})
	if err != nil {
		return nil, err
	}
	return &createLogOutput{Location: "/v1/logs/" + in.Body.Name, Body: out.Body}, nil
}

func (a *api) getLog(ctx context.Context, in *InLog) (*logOutput, error) {
	log, err := a.Logs.Log(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	info, shards, err := leatLog(ctx, log)
	if err != nil {
		return nil, err
	}
	return &logOutput{eventjson.FromLog(in.Log, info, shards)}, nil
}

// leatLog returns what a log says of itself.
func leatLog(ctx context.Context, log leat.Log) (leat.Info, []leat.Shard, error) {
	info, err := log.Info(ctx)
	if err != nil {
		return leat.Info{}, nil, fmt.Errorf("show the log: %w", err)
	}
	shards, err := log.Shards(ctx)
	if err != nil {
		return leat.Info{}, nil, fmt.Errorf("show the log's shards: %w", err)
	}
	return info, shards, nil
}
