package http

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leathq/leat"
)

// InApp is the part of the input that names an application that reads a log.
type InApp struct {
	InLog
	App string `path:"app" doc:"The application: all workers that share the log's shards."`
}

type memberInput struct {
	InApp
	Owner string `path:"owner" doc:"The worker."`
	Body  struct {
		TTL string `json:"ttl" doc:"How long it is a member from now on, such as 10s; 100ms to 1h." example:"10s"`
	}
}

type leaveInput struct {
	InApp
	Owner string `path:"owner" doc:"The worker."`
}

type leaseInput struct {
	InApp
	Shard string `path:"shard" doc:"The shard's ID."`
	Body  struct {
		Owner string `json:"owner" doc:"The worker."`
		Token uint64 `json:"token,omitempty" doc:"The token of the lease to renew; a new lease is acquired when left out."`
		TTL   string `json:"ttl" doc:"How long the lease lives from now on, such as 10s; 100ms to 1h." example:"10s"`
	}
}

type releaseInput struct {
	InApp
	Shard string `path:"shard" doc:"The shard's ID."`
	Owner string `query:"owner" required:"true" doc:"The worker that holds the lease."`
	Token uint64 `query:"token" required:"true" doc:"The lease's token."`
}

// Lease is the form of a leat.Lease.
type Lease struct {
	App     string       `json:"app"`
	Shard   leat.ShardID `json:"shard"`
	Owner   string       `json:"owner"`
	Token   uint64       `json:"token" doc:"Higher than that of every lease of this application and shard before."`
	Expires time.Time    `json:"expires" doc:"By the server's clock."`
}

// member is the form of a leat.Member.
type member struct {
	Owner   string    `json:"owner"`
	Expires time.Time `json:"expires" doc:"By the server's clock."`
}

type leaseOutput struct {
	Body Lease
}

type fleetOutput struct {
	Body struct {
		Members []member `json:"members" doc:"The workers that are alive."`
		Leases  []Lease  `json:"leases" doc:"The leases that are held."`
	}
}

func (a *api) registerLeases() {
	const app = "/v1/logs/{log}/apps/{app}"
	register(a, huma.Operation{
		OperationID: "get-fleet", Method: http.MethodGet, Path: app, Summary: "Show who works for an application",
	}, a.fleet)
	register(a, huma.Operation{
		OperationID: "join", Method: http.MethodPut, Path: app + "/members/{owner}", Summary: "Join an application, or stay in it",
		Description: "Returns the fleet: divide the shards by its members.",
	}, a.join)
	register(a, huma.Operation{
		OperationID: "leave", Method: http.MethodDelete, Path: app + "/members/{owner}", Summary: "Leave an application",
		Description: "Releases the leases the worker holds for it.",
	}, a.leave)
	register(a, huma.Operation{
		OperationID: "lease", Method: http.MethodPut, Path: app + "/leases/{shard}", Summary: "Acquire or renew a lease",
		Description: "Without a token the lease is acquired: held, 409, when another worker has it. " +
			"With its token it is renewed: fenced, 409, when another worker has taken it. " +
			"Whatever a worker writes has to be fenced by the token or by the checkpoint it advances, " +
			"since it may be paused for longer than its lease lives.",
	}, a.lease)
	register(a, huma.Operation{
		OperationID: "release", Method: http.MethodDelete, Path: app + "/leases/{shard}", Summary: "Release a lease",
	}, a.release)
}

func (a *api) fleet(ctx context.Context, in *InApp) (*fleetOutput, error) {
	leases, err := a.Logs.Leases(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	fleet, err := leases.Fleet(ctx, in.App)
	return fleetOf(fleet), err
}

func (a *api) join(ctx context.Context, in *memberInput) (*fleetOutput, error) {
	leases, err := a.Logs.Leases(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	ttl, err := duration("ttl", in.Body.TTL)
	if err != nil {
		return nil, err
	}
	fleet, err := leases.Join(ctx, in.App, in.Owner, ttl)
	return fleetOf(fleet), err
}

func (a *api) leave(ctx context.Context, in *leaveInput) (*struct{}, error) {
	leases, err := a.Logs.Leases(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	return nil, leases.Leave(ctx, in.App, in.Owner)
}

func (a *api) lease(ctx context.Context, in *leaseInput) (*leaseOutput, error) {
	leases, err := a.Logs.Leases(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	ttl, err := duration("ttl", in.Body.TTL)
	if err != nil {
		return nil, err
	}
	var l leat.Lease
	if shard := leat.ShardID(in.Shard); in.Body.Token == 0 {
		l, err = leases.Acquire(ctx, in.App, shard, in.Body.Owner, ttl)
	} else {
		l, err = leases.Renew(ctx, leat.Lease{App: in.App, Shard: shard, Owner: in.Body.Owner, Token: in.Body.Token}, ttl)
	}
	return &leaseOutput{Lease(l)}, err
}

func (a *api) release(ctx context.Context, in *releaseInput) (*struct{}, error) {
	leases, err := a.Logs.Leases(ctx, in.Log)
	if err != nil {
		return nil, err
	}
	return nil, leases.Release(ctx, leat.Lease{App: in.App, Shard: leat.ShardID(in.Shard), Owner: in.Owner, Token: in.Token})
}

func fleetOf(f leat.Fleet) *fleetOutput {
	out := &fleetOutput{}
	out.Body.Members, out.Body.Leases = []member{}, []Lease{}
	for _, m := range f.Members {
		out.Body.Members = append(out.Body.Members, member(m))
	}
	for _, l := range f.Leases {
		out.Body.Leases = append(out.Body.Leases, Lease(l))
	}
	return out
}

// duration reads a duration from a field.
func duration(field, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, &leat.InvalidError{Field: field, Limit: "a duration such as 10s", Got: fmt.Sprintf("%q", cut(s))}
	}
	return d, nil
}
