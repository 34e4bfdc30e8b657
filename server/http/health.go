package http

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

type statusOutput struct {
	Body struct {
		Status string `json:"status"`
	}
}

func (a *api) registerHealth() {
	register(a, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Summary: "Tell that the process lives",
	}, func(context.Context, *struct{}) (*statusOutput, error) { return status("alive"), nil })
	register(a, huma.Operation{
		OperationID: "readiness", Method: http.MethodGet, Path: "/readyz", Summary: "Tell whether to send requests",
		Description: "Not ready, 503 and why: a log cannot be opened or has stopped, a disk is full, " +
			"the clock was set back by more than 10 seconds, or the server is shutting down.",
	}, a.ready)
}

func (a *api) ready(context.Context, *struct{}) (*statusOutput, error) {
	reasons := a.NotReady()
	if len(reasons) == 0 {
		return status("ready"), nil
	}
	p := &Problem{Status: http.StatusServiceUnavailable, Code: "not_ready", Detail: strings.Join(reasons, "; ")}
	return nil, p
}

func status(s string) *statusOutput {
	out := &statusOutput{}
	out.Body.Status = s
	return out
}
