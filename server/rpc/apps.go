package rpc

import (
	"context"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// appService answers for the applications of one log at a time.
type appService struct {
	leatv1.UnimplementedAppsServer
	*Server
}

func (s *appService) Report(ctx context.Context, req *leatv1.ReportRequest) (*leatv1.ReportResponse, error) {
	r, err := s.logs.Reporter(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	paused, err := r.Report(ctx, wire.Statuses(req.GetStatus()), wire.FromMillis(req.GetTtlMs(), 2*leat.MaxTTL))
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ReportResponse{Paused: paused}, nil
}

func (s *appService) List(ctx context.Context, req *leatv1.ListAppsRequest) (*leatv1.ListAppsResponse, error) {
	r, err := s.logs.Reporter(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	apps, err := r.Apps(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ListAppsResponse{Apps: wire.FromApps(apps)}, nil
}

func (s *appService) Pause(ctx context.Context, req *leatv1.PauseRequest) (*leatv1.PauseResponse, error) {
	r, err := s.logs.Reporter(ctx, req.GetLog())
	if err == nil {
		err = r.Pause(ctx, req.GetApp())
	}
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.PauseResponse{}, nil
}

func (s *appService) Resume(ctx context.Context, req *leatv1.ResumeRequest) (*leatv1.ResumeResponse, error) {
	r, err := s.logs.Reporter(ctx, req.GetLog())
	if err == nil {
		err = r.Resume(ctx, req.GetApp())
	}
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ResumeResponse{}, nil
}
