package client

import (
	"context"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// Report implements leat.Reporter.
func (l *Log) Report(ctx context.Context, status []leat.AppStatus, ttl time.Duration) ([]string, error) {
	if err := leat.CheckReport(status, ttl); err != nil {
		return nil, err
	}
	req := &leatv1.ReportRequest{Log: l.name, Status: wire.FromStatuses(status), TtlMs: wire.Millis(ttl)}
	var m *leatv1.ReportResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = l.apps.Report(ctx, req)
		return err
	})
	if err != nil {
		return nil, l.failed("report", err)
	}
	return m.GetPaused(), nil
}

// Apps implements leat.Reporter.
func (l *Log) Apps(ctx context.Context) ([]leat.App, error) {
	var m *leatv1.ListAppsResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = l.apps.List(ctx, &leatv1.ListAppsRequest{Log: l.name})
		return err
	})
	if err != nil {
		return nil, l.failed("list the applications", err)
	}
	return wire.Apps(m.GetApps()), nil
}

// Pause implements leat.Reporter.
func (l *Log) Pause(ctx context.Context, app string) error {
	return l.failed("pause "+app, l.conn.call(ctx, func(ctx context.Context) error {
		_, err := l.apps.Pause(ctx, &leatv1.PauseRequest{Log: l.name, App: app})
		return err
	}))
}

// Resume implements leat.Reporter.
func (l *Log) Resume(ctx context.Context, app string) error {
	return l.failed("resume "+app, l.conn.call(ctx, func(ctx context.Context) error {
		_, err := l.apps.Resume(ctx, &leatv1.ResumeRequest{Log: l.name, App: app})
		return err
	}))
}
