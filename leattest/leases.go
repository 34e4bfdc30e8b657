package leattest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// A Keeper is a leat.Leases under test.
type Keeper struct {
	Leases leat.Leases

	// Reopen ends the keeper, as a kill would, and returns it as it is opened
	// again. It is nil when the keeper does not outlive its end.
	Reopen func() leat.Leases
}

// TestLeases proves that the keepers that open returns keep what leat.Leases
// says. A keeper that open returns is new, and its clock is the one given.
func TestLeases(t *testing.T, open func(t testing.TB, clock func() time.Time) Keeper) {
	for _, c := range leaseChecks {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), checkTime)
			defer cancel()
			clock := newClock()
			k := open(t, clock.Now)
			c.prove(&bureau{TB: t, ctx: ctx, clock: clock, keeper: k, leases: k.Leases})
		})
	}
}

// A bureau is where a check of leases works.
type bureau struct {
	testing.TB
	ctx    context.Context
	clock  *clock
	keeper Keeper
	leases leat.Leases
}

const (
	app = "stock/v1"
	ttl = 10 * time.Second
)

var shard0, shard1 = leat.ShardNumber(0), leat.ShardNumber(1)

func (b *bureau) reopen() {
	b.Helper()
	if b.keeper.Reopen == nil {
		b.Skip("the keeper does not outlive its end")
	}
	b.leases = b.keeper.Reopen()
}

func (b *bureau) acquire(shard leat.ShardID, owner string) leat.Lease {
	b.Helper()
	l, err := b.leases.Acquire(b.ctx, app, shard, owner, ttl)
	if err != nil {
		b.Fatalf("%s acquires %s: %v", owner, shard, err)
	}
	want := leat.Lease{App: app, Shard: shard, Owner: owner, Token: l.Token, Expires: l.Expires}
	if l != want || l.Token == 0 {
		b.Fatalf("%s acquires %s: got %+v, want %+v with a token", owner, shard, l, want)
	}
	b.expires(l.Expires)
	return l
}

// expires fails the test unless at is ttl from now.
func (b *bureau) expires(at time.Time) {
	b.Helper()
	if want := b.clock.Now().Add(ttl); !at.Equal(want) {
		b.Fatalf("expires at %s, want %s", at, want)
	}
}

func (b *bureau) held(shard leat.ShardID, owner string, by leat.Lease) {
	b.Helper()
	_, err := b.leases.Acquire(b.ctx, app, shard, owner, ttl)
	var held *leat.HeldError
	if !errors.As(err, &held) || !errors.Is(err, leat.ErrHeld) {
		b.Fatalf("%s acquires %s: got error %v, want a *HeldError", owner, shard, err)
	}
	if held.Lease.Owner != by.Owner || held.Lease.Shard != shard || !held.Lease.Expires.Equal(by.Expires) {
		b.Fatalf("%s acquires %s: held by %+v, want %+v", owner, shard, held.Lease, by)
	}
}

func (b *bureau) renew(l leat.Lease) leat.Lease {
	b.Helper()
	renewed, err := b.leases.Renew(b.ctx, l, ttl)
	if err != nil {
		b.Fatalf("renew %+v: %v", l, err)
	}
	b.expires(renewed.Expires)
	return renewed
}

func (b *bureau) fenced(l leat.Lease) {
	b.Helper()
	if _, err := b.leases.Renew(b.ctx, l, ttl); !errors.Is(err, leat.ErrFenced) {
		b.Fatalf("renew %+v: got error %v, want one that is %v", l, err, leat.ErrFenced)
	}
}

func (b *bureau) release(l leat.Lease) {
	b.Helper()
	if err := b.leases.Release(b.ctx, l); err != nil {
		b.Fatalf("release %+v: %v", l, err)
	}
}

func (b *bureau) join(owner string) leat.Fleet {
	b.Helper()
	f, err := b.leases.Join(b.ctx, app, owner, ttl)
	if err != nil {
		b.Fatalf("%s joins: %v", owner, err)
	}
	return f
}

// fleet fails the test unless the fleet is made of these members, and leases,
// which are given as the owner and the number of the shard.
func (b *bureau) fleet(f leat.Fleet, members, leases string) {
	b.Helper()
	var gotMembers, gotLeases []string
	for _, m := range f.Members {
		gotMembers = append(gotMembers, m.Owner)
	}
	for _, l := range f.Leases {
		gotLeases = append(gotLeases, l.Owner+" "+string(l.Shard[len(l.Shard)-1]))
	}
	if got := strings.Join(gotMembers, ","); got != members {
		b.Fatalf("members are %q, want %q", got, members)
	}
	if got := strings.Join(gotLeases, ","); got != leases {
		b.Fatalf("leases are %q, want %q", got, leases)
	}
}

func (b *bureau) now() leat.Fleet {
	b.Helper()
	f, err := b.leases.Fleet(b.ctx, app)
	if err != nil {
		b.Fatalf("fleet: %v", err)
	}
	return f
}

// above fails the test unless token is higher than before.
func (b *bureau) above(token, before uint64) {
	b.Helper()
	if token <= before {
		b.Fatalf("token is %d, want one above %d", token, before)
	}
}

var leaseChecks = []struct {
	name  string
	prove func(b *bureau)
}{
	{"one owner at a time", func(b *bureau) {
		a := b.acquire(shard0, "a")
		b.held(shard0, "b", a)
		b.acquire(shard1, "b")
		b.clock.move(ttl - 1)
		b.held(shard0, "b", a)
		b.clock.move(1)
		b.above(b.acquire(shard0, "b").Token, a.Token)
		b.fenced(a)
	}},
	{"applications share nothing", func(b *bureau) {
		a := b.acquire(shard0, "a")
		if _, err := b.leases.Acquire(b.ctx, "other", shard0, "b", ttl); err != nil {
			b.Fatal(err)
		}
		b.renew(a)
		b.fleet(b.now(), "", "a 0")
	}},
	{"renewing", func(b *bureau) {
		a := b.acquire(shard0, "a")
		for range 3 {
			b.clock.move(ttl - 1)
			renewed := b.renew(a)
			if renewed.Token != a.Token {
				b.Fatalf("renewed under token %d, want %d", renewed.Token, a.Token)
			}
			a = renewed
			b.held(shard0, "b", a)
		}
	}},
	{"an expired lease that nobody took is renewed", func(b *bureau) {
		a := b.acquire(shard0, "a")
		b.clock.move(time.Hour)
		b.held(shard0, "b", b.renew(a))
	}},
	{"acquiring again fences the life before", func(b *bureau) {
		first := b.acquire(shard0, "a")
		second := b.acquire(shard0, "a")
		b.above(second.Token, first.Token)
		b.fenced(first)
		b.release(first)
		b.held(shard0, "b", b.renew(second))
	}},
	{"releasing", func(b *bureau) {
		a := b.acquire(shard0, "a")
		b.release(a)
		b.fenced(a)
		second := b.acquire(shard0, "b")
		b.above(second.Token, a.Token)
		b.release(a)
		b.renew(second)
		b.release(second)
		b.release(second)
		b.release(leat.Lease{App: app, Shard: shard1, Owner: "a", Token: 99})
		b.fleet(b.now(), "", "")
	}},
	{"a token that was never given out is fenced", func(b *bureau) {
		a := b.acquire(shard0, "a")
		forged := a
		forged.Token += 1_000_000
		b.fenced(forged)
		forged.Shard = shard1
		b.fenced(forged)
		forged.Token = 0
		b.fenced(forged)
	}},
	{"fleets", func(b *bureau) {
		b.fleet(b.now(), "", "")
		b.fleet(b.join("b"), "b", "")
		b.clock.move(ttl / 2)
		b.fleet(b.join("a"), "a,b", "")
		b.acquire(shard1, "a")
		b.acquire(shard0, "b")
		b.fleet(b.join("a"), "a,b", "b 0,a 1")
		if _, err := b.leases.Join(b.ctx, "other", "c", ttl); err != nil {
			b.Fatal(err)
		}
		b.clock.move(ttl / 2)
		b.fleet(b.now(), "a", "b 0,a 1")
		if err := b.leases.Leave(b.ctx, app, "a"); err != nil {
			b.Fatal(err)
		}
		b.fleet(b.now(), "", "b 0")
		b.acquire(shard1, "b")
		if err := b.leases.Leave(b.ctx, app, "nobody"); err != nil {
			b.Fatal(err)
		}
	}},
	{"tokens rise when the clock jumps", func(b *bureau) {
		var last uint64
		for i, jump := range []time.Duration{0, -24 * time.Hour, 48 * time.Hour, -time.Hour, 2 * time.Hour} {
			b.clock.move(jump)
			l := b.acquire(shard0, "a")
			b.above(l.Token, last)
			last = l.Token
			b.release(l)
			l = b.acquire(shard0, fmt.Sprintf("owner-%d", i))
			b.above(l.Token, last)
			last = l.Token
			b.release(l)
		}
	}},
	{"tokens rise over the end of a keeper", func(b *bureau) {
		var last uint64
		for range 3 {
			for range 1100 {
				l := b.acquire(shard0, "a")
				b.above(l.Token, last)
				last = l.Token
			}
			b.reopen()
			b.clock.move(-time.Hour)
		}
		b.above(b.acquire(shard0, "b").Token, last)
	}},
	{"a keeper that starts again renews what nobody took", func(b *bureau) {
		a, other := b.acquire(shard0, "a"), b.acquire(shard1, "a")
		b.reopen()
		renewed := b.renew(a)
		b.above(renewed.Token, other.Token)
		b.held(shard0, "b", renewed)
		b.renew(renewed)
		taken := b.acquire(shard1, "b")
		b.above(taken.Token, renewed.Token)
		b.fenced(other)
	}},
	{"bounds", func(b *bureau) {
		long := strings.Repeat("x", leat.MaxNameBytes+1)
		for _, bad := range []struct {
			field, app string
			shard      leat.ShardID
			owner      string
			ttl        time.Duration
		}{
			{"app", "", shard0, "a", ttl},
			{"app", long, shard0, "a", ttl},
			{"app", "\xff", shard0, "a", ttl},
			{"owner", app, shard0, "", ttl},
			{"owner", app, shard0, long, ttl},
			{"shard", app, "", "a", ttl},
			{"shard", app, "\xff", "a", ttl},
			{"ttl", app, shard0, "a", leat.MinTTL - 1},
			{"ttl", app, shard0, "a", leat.MaxTTL + 1},
			{"ttl", app, shard0, "a", -ttl},
		} {
			check := func(doing string, err error) {
				b.Helper()
				var invalid *leat.InvalidError
				if !errors.As(err, &invalid) || invalid.Field != bad.field {
					b.Fatalf("%s with a bad %s: got error %v, want an *InvalidError that names it", doing, bad.field, err)
				}
			}
			_, err := b.leases.Acquire(b.ctx, bad.app, bad.shard, bad.owner, bad.ttl)
			check("acquire", err)
			_, err = b.leases.Renew(b.ctx, leat.Lease{App: bad.app, Shard: bad.shard, Owner: bad.owner, Token: 1}, bad.ttl)
			check("renew", err)
			if bad.field != "shard" {
				_, err = b.leases.Join(b.ctx, bad.app, bad.owner, bad.ttl)
				check("join", err)
			}
		}
	}},
	{"one of many wins", func(b *bureau) {
		var mu sync.Mutex
		var winners []string
		var workers sync.WaitGroup
		for i := range 32 {
			workers.Go(func() {
				owner := fmt.Sprintf("worker-%d", i)
				_, err := b.leases.Acquire(b.ctx, app, shard0, owner, ttl)
				switch {
				case err == nil:
					mu.Lock()
					defer mu.Unlock()
					winners = append(winners, owner)
				case !errors.Is(err, leat.ErrHeld):
					b.Errorf("%s acquires: %v", owner, err)
				}
			})
		}
		workers.Wait()
		if len(winners) != 1 || len(b.now().Leases) != 1 || !slices.Contains(winners, b.now().Leases[0].Owner) {
			b.Fatalf("winners are %v, the fleet is %+v", winners, b.now())
		}
	}},
}
