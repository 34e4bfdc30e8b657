package client

import (
	"context"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// Acquire implements leat.Leases.
func (l *Log) Acquire(ctx context.Context, app string, shard leat.ShardID, owner string, ttl time.Duration) (leat.Lease, error) {
	if err := leat.CheckLease(app, shard, owner, ttl); err != nil {
		return leat.Lease{}, err
	}
	return l.lease(ctx, "acquire "+string(shard), func(ctx context.Context) (*leatv1.LeaseResponse, error) {
		return l.leases.Acquire(ctx, &leatv1.AcquireRequest{
			Log: l.name, App: app, Shard: string(shard), Owner: owner, TtlMs: wire.Millis(ttl),
		})
	})
}

// Renew implements leat.Leases.
func (l *Log) Renew(ctx context.Context, lease leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if err := leat.CheckLease(lease.App, lease.Shard, lease.Owner, ttl); err != nil {
		return leat.Lease{}, err
	}
	return l.lease(ctx, "renew "+string(lease.Shard), func(ctx context.Context) (*leatv1.LeaseResponse, error) {
		return l.leases.Renew(ctx, &leatv1.RenewRequest{Log: l.name, Lease: wire.FromLease(lease), TtlMs: wire.Millis(ttl)})
	})
}

func (l *Log) lease(ctx context.Context, doing string, f func(context.Context) (*leatv1.LeaseResponse, error)) (leat.Lease, error) {
	var m *leatv1.LeaseResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = f(ctx)
		return err
	})
	if err != nil {
		return leat.Lease{}, l.failed(doing, err)
	}
	return wire.Lease(m.GetLease()), nil
}

// Release implements leat.Leases.
func (l *Log) Release(ctx context.Context, lease leat.Lease) error {
	if err := leat.CheckLease(lease.App, lease.Shard, lease.Owner, leat.MinTTL); err != nil {
		return err
	}
	return l.failed("release "+string(lease.Shard), l.conn.call(ctx, func(ctx context.Context) error {
		_, err := l.leases.Release(ctx, &leatv1.ReleaseRequest{Log: l.name, Lease: wire.FromLease(lease)})
		return err
	}))
}

// Join implements leat.Leases.
func (l *Log) Join(ctx context.Context, app, owner string, ttl time.Duration) (leat.Fleet, error) {
	if err := leat.CheckMember(app, owner, ttl); err != nil {
		return leat.Fleet{}, err
	}
	return l.fleet(ctx, "join "+app, func(ctx context.Context) (*leatv1.FleetResponse, error) {
		return l.leases.Join(ctx, &leatv1.JoinRequest{Log: l.name, App: app, Owner: owner, TtlMs: wire.Millis(ttl)})
	})
}

// Leave implements leat.Leases.
func (l *Log) Leave(ctx context.Context, app, owner string) error {
	if err := leat.CheckMember(app, owner, leat.MinTTL); err != nil {
		return err
	}
	return l.failed("leave "+app, l.conn.call(ctx, func(ctx context.Context) error {
		_, err := l.leases.Leave(ctx, &leatv1.LeaveRequest{Log: l.name, App: app, Owner: owner})
		return err
	}))
}

// Fleet implements leat.Leases.
func (l *Log) Fleet(ctx context.Context, app string) (leat.Fleet, error) {
	if err := leat.CheckMember(app, "any", leat.MinTTL); err != nil {
		return leat.Fleet{}, err
	}
	return l.fleet(ctx, "fleet "+app, func(ctx context.Context) (*leatv1.FleetResponse, error) {
		return l.leases.Fleet(ctx, &leatv1.FleetRequest{Log: l.name, App: app})
	})
}

func (l *Log) fleet(ctx context.Context, doing string, f func(context.Context) (*leatv1.FleetResponse, error)) (leat.Fleet, error) {
	var m *leatv1.FleetResponse
	err := l.conn.call(ctx, func(ctx context.Context) (err error) {
		m, err = f(ctx)
		return err
	})
	if err != nil {
		return leat.Fleet{}, l.failed(doing, err)
	}
	return wire.Fleet(m), nil
}
