package rpc

import (
	"context"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// leaseService answers for the leases of one log at a time.
type leaseService struct {
	leatv1.UnimplementedLeasesServer
	*Server
}

func (s *leaseService) Acquire(ctx context.Context, req *leatv1.AcquireRequest) (*leatv1.LeaseResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	ttl := wire.FromMillis(req.GetTtlMs(), 2*leat.MaxTTL)
	return leaseResponse(leases.Acquire(ctx, req.GetApp(), leat.ShardID(req.GetShard()), req.GetOwner(), ttl))
}

func (s *leaseService) Renew(ctx context.Context, req *leatv1.RenewRequest) (*leatv1.LeaseResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	return leaseResponse(leases.Renew(ctx, wire.Lease(req.GetLease()), wire.FromMillis(req.GetTtlMs(), 2*leat.MaxTTL)))
}

func leaseResponse(l leat.Lease, err error) (*leatv1.LeaseResponse, error) {
	if err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.LeaseResponse{Lease: wire.FromLease(l)}, nil
}

func (s *leaseService) Release(ctx context.Context, req *leatv1.ReleaseRequest) (*leatv1.ReleaseResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	if err := leases.Release(ctx, wire.Lease(req.GetLease())); err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.ReleaseResponse{}, nil
}

func (s *leaseService) Join(ctx context.Context, req *leatv1.JoinRequest) (*leatv1.FleetResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	return fleetResponse(leases.Join(ctx, req.GetApp(), req.GetOwner(), wire.FromMillis(req.GetTtlMs(), 2*leat.MaxTTL)))
}

func (s *leaseService) Leave(ctx context.Context, req *leatv1.LeaveRequest) (*leatv1.LeaveResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	if err := leases.Leave(ctx, req.GetApp(), req.GetOwner()); err != nil {
		return nil, wire.Status(err)
	}
	return &leatv1.LeaveResponse{}, nil
}

func (s *leaseService) Fleet(ctx context.Context, req *leatv1.FleetRequest) (*leatv1.FleetResponse, error) {
	leases, err := s.logs.Leases(ctx, req.GetLog())
	if err != nil {
		return nil, wire.Status(err)
	}
	return fleetResponse(leases.Fleet(ctx, req.GetApp()))
}

func fleetResponse(f leat.Fleet, err error) (*leatv1.FleetResponse, error) {
	if err != nil {
		return nil, wire.Status(err)
	}
	return wire.FromFleet(f), nil
}
