package client

import (
	"context"
	"fmt"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// List returns the names of the logs at a server, sorted. What follows the
// address in the URL is ignored.
func List(ctx context.Context, rawURL string, o Options) ([]string, error) {
	address, _, err := ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	var m *leatv1.ListResponse
	err = administer(ctx, address, o, func(ctx context.Context, logs leatv1.LogsClient) (err error) {
		m, err = logs.List(ctx, &leatv1.ListRequest{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the logs of %s: %w", rawURL, err)
	}
	return m.GetLogs(), nil
}

// Create makes a new log at a server, under the name in the URL.
func Create(ctx context.Context, rawURL string, c leat.Config, o Options) (leat.Info, error) {
	address, name, err := ParseURL(rawURL)
	if err != nil {
		return leat.Info{}, err
	}
	var m *leatv1.CreateResponse
	err = administer(ctx, address, o, func(ctx context.Context, logs leatv1.LogsClient) (err error) {
		m, err = logs.Create(ctx, &leatv1.CreateRequest{
			Log: name, Id: c.ID, Single: c.Single, Shards: wire.FromShards(c.Shards), Ended: wire.FromEpochs(c.Ended),
		})
		return err
	})
	if err != nil {
		return leat.Info{}, fmt.Errorf("create %s: %w", rawURL, err)
	}
	return wire.Info(m.GetInfo()), nil
}

// administer calls a server once, over a connection of its own.
func administer(ctx context.Context, address string, o Options, f func(context.Context, leatv1.LogsClient) error) error {
	c, err := connect(address, o)
	if err != nil {
		return err
	}
	defer c.close()
	return c.callOnce(ctx, func(ctx context.Context) error { return f(ctx, leatv1.NewLogsClient(c.grpc)) })
}
