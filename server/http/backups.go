package http

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type backupInput struct {
	InLog
	Body struct {
		Directory string `json:"directory" doc:"1 to 64 characters a-z, 0-9, - or _." example:"monday"`
	}
}

type backupOutput struct {
	Body struct {
		Path string `json:"path" doc:"Where the copy is, within the server's data directory."`
	}
}

func (a *api) registerBackups() {
	register(a, huma.Operation{
		OperationID: "back-up-log", Method: http.MethodPost, Path: "/v1/logs/{log}/backups", Summary: "Back up a log",
		Description: "Copies the log as it is, on the server's disk, while appends go on. " +
			"The copy is a log of the next epoch: readers that got further than it does are told when they meet it.",
		DefaultStatus: http.StatusCreated,
	}, a.backUp)
}

func (a *api) backUp(ctx context.Context, in *backupInput) (*backupOutput, error) {
	if err := a.Logs.Backup(ctx, in.Log, in.Body.Directory); err != nil {
		return nil, err
	}
	out := &backupOutput{}
	out.Body.Path = "backups/" + in.Body.Directory
	return out, nil
}
