package lease

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leathq/leat"
)

const (
	// tokenBlock is how many tokens are reserved on disk at a time.
	tokenBlock = 1000

	// maxEntries bounds what a keeper remembers, members and leases together.
	maxEntries = 100_000
)

// A Keeper is a [leat.Leases]. It is safe for concurrent use.
type Keeper struct {
	clock func() time.Time

	mu       sync.Mutex
	path     string // of the file; empty when there is none
	last     uint64 // token given out last
	reserved uint64 // tokens up to this one may be given out
	leases   map[place]*entry
	members  map[member]time.Time // when they expire
}

type place struct {
	app   string
	shard leat.ShardID
}

type member struct{ app, owner string }

// An entry is the last lease of a place.
type entry struct {
	leat.Lease
	released bool
}

var _ leat.Leases = (*Keeper)(nil)

// Open returns a Keeper whose tokens go on above those that the file at path
// says were given out; none were when there is no file. Only one Keeper may use
// a file at a time: it belongs in the directory of its log, which is locked. A
// nil clock is time.Now.
func Open(path string, clock func() time.Time) (*Keeper, error) {
	k := New(clock)
	tokens, err := readTokens(path)
	if err != nil {
		return nil, err
	}
	k.path, k.last, k.reserved = path, tokens, tokens
	return k, nil
}

// New returns a Keeper without a file, for tests and logs in memory: tokens
// begin at 1. A nil clock is time.Now.
func New(clock func() time.Time) *Keeper {
	if clock == nil {
		clock = time.Now
	}
	return &Keeper{clock: clock, leases: make(map[place]*entry), members: make(map[member]time.Time)}
}

// Acquire implements leat.Leases.
func (k *Keeper) Acquire(ctx context.Context, app string, shard leat.ShardID, owner string, ttl time.Duration) (leat.Lease, error) {
	if err := leat.CheckLease(app, shard, owner, ttl); err != nil {
		return leat.Lease{}, err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return leat.Lease{}, err
	}
	now := k.clock()
	if e := k.leases[place{app, shard}]; e != nil && e.Owner != owner && e.heldAt(now) {
		return leat.Lease{}, &leat.HeldError{Lease: e.Lease}
	}
	return k.grant(leat.Lease{App: app, Shard: shard, Owner: owner}, now, ttl)
}

// Renew implements leat.Leases.
func (k *Keeper) Renew(ctx context.Context, l leat.Lease, ttl time.Duration) (leat.Lease, error) {
	if err := leat.CheckLease(l.App, l.Shard, l.Owner, ttl); err != nil {
		return leat.Lease{}, err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return leat.Lease{}, err
	}
	now := k.clock()
	e := k.leases[place{l.App, l.Shard}]
	switch {
	case e == nil && l.Token > 0 && l.Token <= k.last:
		return k.grant(l, now, ttl) // given out before the keeper started, or forgotten
	case e == nil:
		return leat.Lease{}, lost(l, "its token was never given out")
	case e.Owner != l.Owner:
		return leat.Lease{}, lost(l, fmt.Sprintf("%q has taken it", e.Owner))
	case e.Token != l.Token:
		return leat.Lease{}, lost(l, "it was acquired again")
	case e.released:
		return leat.Lease{}, lost(l, "it was released")
	}
	e.Expires = now.Add(ttl)
	return e.Lease, nil
}

func lost(l leat.Lease, why string) error {
	return fmt.Errorf("renew the lease of %s for application %q and owner %q: %w: %s", l.Shard, l.App, l.Owner, leat.ErrFenced, why)
}

// Release implements leat.Leases.
func (k *Keeper) Release(ctx context.Context, l leat.Lease) error {
	if err := leat.CheckLease(l.App, l.Shard, l.Owner, leat.MinTTL); err != nil {
		return err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return err
	}
	if e := k.leases[place{l.App, l.Shard}]; e != nil && e.Owner == l.Owner && e.Token == l.Token {
		e.released = true
	}
	return nil
}

// Join implements leat.Leases.
func (k *Keeper) Join(ctx context.Context, app, owner string, ttl time.Duration) (leat.Fleet, error) {
	if err := leat.CheckMember(app, owner, ttl); err != nil {
		return leat.Fleet{}, err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return leat.Fleet{}, err
	}
	now := k.clock()
	if _, known := k.members[member{app, owner}]; !known {
		if err := k.room(now); err != nil {
			return leat.Fleet{}, err
		}
	}
	k.members[member{app, owner}] = now.Add(ttl)
	return k.fleet(app, now), nil
}

// Leave implements leat.Leases.
func (k *Keeper) Leave(ctx context.Context, app, owner string) error {
	if err := leat.CheckMember(app, owner, leat.MinTTL); err != nil {
		return err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return err
	}
	delete(k.members, member{app, owner})
	for p, e := range k.leases {
		if p.app == app && e.Owner == owner {
			e.released = true
		}
	}
	return nil
}

// Fleet implements leat.Leases.
func (k *Keeper) Fleet(ctx context.Context, app string) (leat.Fleet, error) {
	if err := leat.CheckMember(app, "any", leat.MinTTL); err != nil {
		return leat.Fleet{}, err
	}
	defer k.mu.Unlock()
	if err := k.lock(ctx); err != nil {
		return leat.Fleet{}, err
	}
	return k.fleet(app, k.clock()), nil
}

func (k *Keeper) lock(ctx context.Context) error {
	k.mu.Lock()
	return ctx.Err()
}

// Held returns the number of leases that are held, of all applications.
func (k *Keeper) Held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, held := k.clock(), 0
	for _, e := range k.leases {
		if e.heldAt(now) {
			held++
		}
	}
	return held
}

func (k *Keeper) fleet(app string, now time.Time) leat.Fleet {
	var f leat.Fleet
	for m, expires := range k.members {
		if m.app == app && now.Before(expires) {
			f.Members = append(f.Members, leat.Member{Owner: m.owner, Expires: expires})
		}
	}
	for p, e := range k.leases {
		if p.app == app && e.heldAt(now) {
			f.Leases = append(f.Leases, e.Lease)
		}
	}
	slices.SortFunc(f.Members, func(a, b leat.Member) int { return cmp.Compare(a.Owner, b.Owner) })
	slices.SortFunc(f.Leases, func(a, b leat.Lease) int { return cmp.Compare(a.Shard, b.Shard) })
	return f
}

func (e *entry) heldAt(now time.Time) bool { return !e.released && now.Before(e.Expires) }

// grant gives l out under a new token.
func (k *Keeper) grant(l leat.Lease, now time.Time, ttl time.Duration) (leat.Lease, error) {
	p := place{l.App, l.Shard}
	if k.leases[p] == nil {
		if err := k.room(now); err != nil {
			return leat.Lease{}, err
		}
	}
	if k.last == k.reserved {
		if err := k.reserve(); err != nil {
			return leat.Lease{}, err
		}
	}
	k.last++
	l.Token, l.Expires = k.last, now.Add(ttl)
	k.leases[p] = &entry{Lease: l}
	return l, nil
}

// reserve makes the next block of tokens durable.
func (k *Keeper) reserve() error {
	next := k.reserved + tokenBlock
	if k.path != "" {
		if err := writeTokens(k.path, next); err != nil {
			return err
		}
	}
	k.reserved = next
	return nil
}

// room makes room for another entry: when there is none it forgets what has
// expired or was released.
func (k *Keeper) room(now time.Time) error {
	if len(k.leases)+len(k.members) < maxEntries {
		return nil
	}
	for p, e := range k.leases {
		if !e.heldAt(now) {
			delete(k.leases, p)
		}
	}
	for m, expires := range k.members {
		if !now.Before(expires) {
			delete(k.members, m)
		}
	}
	if len(k.leases)+len(k.members) >= maxEntries {
		return fmt.Errorf("%w for more than %d leases and members: wait until some expire", leat.ErrFull, maxEntries)
	}
	return nil
}
