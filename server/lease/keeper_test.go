package lease_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/server/lease"
)

func TestLeases(t *testing.T) {
	leattest.TestLeases(t, func(t testing.TB, clock func() time.Time) leattest.Keeper {
		path := filepath.Join(t.TempDir(), "leases")
		reopen := func() leat.Leases {
			k, err := lease.Open(path, clock)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		return leattest.Keeper{Leases: reopen(), Reopen: reopen}
	})
}

func TestDamagedTokensAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    error
	}{
		"empty":          {"", leat.ErrCorrupt},
		"cut off":        {`{"format":1,"tok`, leat.ErrCorrupt},
		"of the future":  {`{"format":2,"tokens":7}`, leat.ErrUnsupported},
		"without format": {`{}`, leat.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "leases")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := lease.Open(path, nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got error %v, want one that is %q and names the file", err, c.want)
			}
		})
	}
}

// A token is given out only when it is durable that it may have been.
func TestNoTokenWithoutDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	k, err := lease.Open(filepath.Join(dir, "leases"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := k.Acquire(t.Context(), "app", leat.ShardNumber(0), "a", time.Second); err == nil {
		t.Fatalf("got lease %+v though its token cannot be kept", l)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Acquire(t.Context(), "app", leat.ShardNumber(0), "a", time.Second); err != nil {
		t.Fatalf("acquire when there is a directory: %v", err)
	}
}

func TestShare(t *testing.T) {
	f := leat.Fleet{Members: []leat.Member{{Owner: "a"}, {Owner: "b"}, {Owner: "c"}}}
	for _, c := range []struct{ shards, a, b, c int }{{0, 0, 0, 0}, {1, 1, 0, 0}, {3, 1, 1, 1}, {5, 2, 2, 1}, {16, 6, 5, 5}} {
		for owner, want := range map[string]int{"a": c.a, "b": c.b, "c": c.c, "nobody": 0} {
			if got := f.Share(owner, c.shards); got != want {
				t.Errorf("%s's share of %d shards among three is %d, want %d", owner, c.shards, got, want)
			}
		}
	}
}
