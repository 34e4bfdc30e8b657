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

type appsOutput struct {
	Body struct {
		Apps []eventjson.App `json:"apps" doc:"The applications that reported lately, and those that are paused, sorted by name."`
	}
}

func (a *api) registerApps() {
	const apps = "/v1/logs/{log}/apps"
	register(a, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: apps, Summary: "Show how the applications fare that read a log",
		Description: "As their workers tell every few seconds. A worker that is silent is shown as gone for an hour, an application without any for 30 days.",
	}, a.apps)
	register(a, huma.Operation{
		OperationID: "pause-app", Method: http.MethodPut, Path: apps + "/{app}/pause", Summary: "Pause an application",
		Description: "Its workers finish what they are at and give up their shards within seconds, until it is resumed.",
	}, a.pause)
	register(a, huma.Operation{
		OperationID: "resume-app", Method: http.MethodDelete, Path: apps + "/{app}/pause", Summary: "Resume an application",
	}, a.resume)
	register(a, huma.Operation{
		OperationID: "forget-app", Method: http.MethodDelete, Path: apps + "/{app}", Summary: "Forget an application that nobody runs any more",
		Description: "It is shown for 30 days after its last worker was heard of, unless it is forgotten. Refused while a worker reports it.",
	}, a.forgetApp)
}

func (a *api) apps(ctx context.Context, in *InLog) (*appsOutput, error) {
	r, err := a.Logs.Reporter(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	apps, err := r.Apps(ctx)
	if err != nil {
		return nil, err
	}
	out := &appsOutput{}
	out.Body.Apps = []eventjson.App{}
	now := time.Now()
	for i := range apps {
		out.Body.Apps = append(out.Body.Apps, eventjson.FromApp(&apps[i], now))
	}
	return out, nil
}

// A forgetter is a leat.Reporter that can be told to forget an application.
type forgetter interface {
	Forget(ctx context.Context, app string) error
}

func (a *api) forgetApp(ctx context.Context, in *InApp) (*struct{}, error) {
	r, err := a.Logs.Reporter(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	f, ok := r.(forgetter)
	if !ok {
		return nil, fmt.Errorf("forget application %q: %w", in.App, leat.ErrUnsupported)
	}
	return nil, f.Forget(ctx, in.App)
}

func (a *api) pause(ctx context.Context, in *InApp) (*struct{}, error) {
	r, err := a.Logs.Reporter(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	return nil, r.Pause(ctx, in.App)
}

func (a *api) resume(ctx context.Context, in *InApp) (*struct{}, error) {
	r, err := a.Logs.Reporter(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	return nil, r.Resume(ctx, in.App)
}
