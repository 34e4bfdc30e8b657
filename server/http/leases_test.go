package http_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
)

// Leases behind the HTTP API are leases.
func TestLeases(t *testing.T) {
	leattest.TestLeases(t, func(t testing.TB, clock func() time.Time) leattest.Keeper {
		f := open(t)
		f.leases["orders"] = lease.New(clock)
		return leattest.Keeper{Leases: &remoteLeases{remote{base: f.url + "/v1/logs/orders/apps/"}}}
	})
}

// remoteLeases is a leat.Leases over the HTTP API.
type remoteLeases struct{ remote }

type fleetJSON struct {
	Members []struct {
		Owner   string
		Expires time.Time
	}
	Leases []leaseJSON
}

type leaseJSON struct {
	App     string
	Shard   leat.ShardID
	Owner   string
	Token   uint64
	Expires time.Time
}

func (r *remoteLeases) lease(ctx context.Context, l leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if err := leat.CheckLease(l.App, l.Shard, l.Owner, ttl); err != nil {
		return leat.Lease{}, err
	}
	var out leaseJSON
	in := map[string]any{"owner": l.Owner, "token": l.Token, "ttl": ttl.String()}
	err := r.call(ctx, http.MethodPut, url.PathEscape(l.App)+"/leases/"+string(l.Shard), nil, in, &out)
	return leat.Lease(out), err
}

func (r *remoteLeases) Acquire(ctx context.Context, app string, shard leat.ShardID, owner string, ttl time.Duration) (leat.Lease, error) {
	return r.lease(ctx, leat.Lease{App: app, Shard: shard, Owner: owner}, ttl)
}

func (r *remoteLeases) Renew(ctx context.Context, l leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if l.Token == 0 {
		return l, leat.ErrFenced // no lease has it, and the API takes its absence for an Acquire
	}
	return r.lease(ctx, l, ttl)
}

func (r *remoteLeases) Release(ctx context.Context, l leat.Lease) error {
	if err := leat.CheckLease(l.App, l.Shard, l.Owner, leat.MinTTL); err != nil {
		return err
	}
	q := url.Values{"owner": {l.Owner}, "token": {fmt.Sprint(l.Token)}}
	return r.call(ctx, http.MethodDelete, url.PathEscape(l.App)+"/leases/"+string(l.Shard), q, nil, nil)
}

func (r *remoteLeases) Join(ctx context.Context, app, owner string, ttl time.Duration) (leat.Fleet, error) {
	if err := leat.CheckMember(app, owner, ttl); err != nil {
		return leat.Fleet{}, err
	}
	var out fleetJSON
	in := map[string]any{"ttl": ttl.String()}
	err := r.call(ctx, http.MethodPut, url.PathEscape(app)+"/members/"+url.PathEscape(owner), nil, in, &out)
	return out.fleet(), err
}

func (r *remoteLeases) Leave(ctx context.Context, app, owner string) error {
	if err := leat.CheckMember(app, owner, leat.MinTTL); err != nil {
		return err
	}
	return r.call(ctx, http.MethodDelete, url.PathEscape(app)+"/members/"+url.PathEscape(owner), nil, nil, nil)
}

func (r *remoteLeases) Fleet(ctx context.Context, app string) (leat.Fleet, error) {
	if err := leat.CheckMember(app, "any", leat.MinTTL); err != nil {
		return leat.Fleet{}, err
	}
	var out fleetJSON
	err := r.call(ctx, http.MethodGet, url.PathEscape(app), nil, nil, &out)
	return out.fleet(), err
}

func (f fleetJSON) fleet() leat.Fleet {
	var out leat.Fleet
	for _, m := range f.Members {
		out.Members = append(out.Members, leat.Member(m))
	}
	for _, l := range f.Leases {
		out.Leases = append(out.Leases, leat.Lease(l))
	}
	return out
}
