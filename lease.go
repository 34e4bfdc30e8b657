package leat

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A Lease is the right of one owner to work on one shard for an application,
// until a moment.
//
// It keeps two workers from doing the same work, not from doing harm: a worker
// that was paused may go on after its lease has passed to another. What it
// writes has to be fenced, by Token or by the checkpoint it advances.
type Lease struct {
	App   string
	Shard ShardID
	Owner string

	// Token is higher than that of every lease of this App and Shard before.
	Token uint64

	// Expires is by the keeper's clock. An owner that has another counts the
	// time it asked for from before it asked.
	Expires time.Time
}

// A Member is a worker of an application that shares in its shards, until a
// moment by the keeper's clock.
type Member struct {
	Owner   string
	Expires time.Time
}

// A Fleet is what is alive of an application: its members, sorted by Owner, and
// the leases that are held, sorted by Shard.
type Fleet struct {
	Members []Member
	Leases  []Lease
}

// Share returns how many of a number of shards are owner's: as many as every
// other member's, or one more for the first in the order of names. It is 0 for
// one that is not a member.
func (f Fleet) Share(owner string, shards int) int {
	i := slices.IndexFunc(f.Members, func(m Member) bool { return m.Owner == owner })
	if i < 0 {
		return 0
	}
	share := shards / len(f.Members)
	if i < shards%len(f.Members) {
		share++
	}
	return share
}

// Leases is a keeper of leases, one for each log. Its methods are safe for
// concurrent use. Names of applications and owners are 1 to 256 bytes of UTF-8,
// a time to live is MinTTL to MaxTTL; what is not is an [*InvalidError].
//
// An owner is one life of one worker. One that starts again takes a new name,
// or acquires its leases anew, so that what is left of its last life is fenced.
//
// A keeper may forget what has expired, and all of it when it starts again,
// but never which tokens it gave out.
type Leases interface {
	// Acquire gives owner the lease of a shard, under a new token. If another
	// owner holds it, the error is a [*HeldError]. An owner that holds it
	// already gets it under a new token; the old one is fenced.
	Acquire(ctx context.Context, app string, shard ShardID, owner string, ttl time.Duration) (Lease, error)

	// Renew lets a lease live for ttl from now, also one that has expired if
	// nobody else took it. It is [ErrFenced] when somebody has, or when it was
	// released. A keeper that knows nothing of the shard gives the lease anew,
	// under a new token: use the lease it returns.
	Renew(ctx context.Context, l Lease, ttl time.Duration) (Lease, error)

	// Release ends a lease, so that others can acquire the shard at once.
	// Releasing one that is lost, or was released, does nothing.
	Release(ctx context.Context, l Lease) error

	// Join makes owner a member of an application's fleet for ttl from now, or
	// keeps it one, and returns the fleet.
	Join(ctx context.Context, app, owner string, ttl time.Duration) (Fleet, error)

	// Leave ends a membership and releases the leases that owner holds for the
	// application. Leaving when not a member does nothing.
	Leave(ctx context.Context, app, owner string) error

	// Fleet returns the fleet of an application, empty when it has none.
	Fleet(ctx context.Context, app string) (Fleet, error)
}

// Bounds of the time to live of leases and memberships.
const (
	MinTTL = 100 * time.Millisecond
	MaxTTL = time.Hour
)

// CheckLease does what methods of Leases do first, for those who implement it:
// it returns an [*InvalidError] if an argument is out of bounds.
func CheckLease(app string, shard ShardID, owner string, ttl time.Duration) error {
	if !shardID(shard) {
		return &InvalidError{Field: "shard", Limit: `a shard ID such as "` + string(ShardNumber(0)) + `"`, Got: brief(string(shard))}
	}
	return CheckMember(app, owner, ttl)
}

// CheckMember is CheckLease for methods that concern no shard.
func CheckMember(app, owner string, ttl time.Duration) error {
	for _, f := range [...]struct{ name, value string }{{"app", app}, {"owner", owner}} {
		if limit, got := checkName(f.value); limit != "" {
			return &InvalidError{Field: f.name, Limit: limit, Got: got}
		}
	}
	if ttl < MinTTL || ttl > MaxTTL {
		return &InvalidError{Field: "ttl", Limit: fmt.Sprintf("%s to %s", MinTTL, MaxTTL), Got: ttl.String()}
	}
	return nil
}
