package rpc

import (
	"context"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// adminService answers for the server's logs as a whole.
type adminService struct {
	leatv1.UnimplementedLogsServer
	*Server
}

func (s *adminService) List(ctx context.Context, _ *leatv1.ListRequest) (*leatv1.ListResponse, error) {
	names, err := s.logs.List(ctx)
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ListResponse{Logs: names}, nil
}

func (s *adminService) Create(ctx context.Context, req *leatv1.CreateRequest) (*leatv1.CreateResponse, error) {
	shards, err := wire.Shards(req.GetShards())
	if err != nil {
		return nil, wire.Status(err)
	}
	info, err := s.logs.Create(ctx, req.GetLog(), leat.Config{
		ID: req.GetId(), Single: req.GetSingle(), Shards: shards, Ended: wire.Epochs(req.GetEnded()),
	})
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.CreateResponse{Info: wire.FromInfo(info)}, nil
}
