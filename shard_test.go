package leat_test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/leathq/leat"
)

func TestRouteKey(t *testing.T) {
	for stream, want := range map[string]string{
		"order-536365":     "order-536365",
		"order-{c42}-7":    "c42",
		"customer-{c42}":   "c42",
		"{c42}":            "c42",
		"a{b}{c}":          "b",
		"a{b{c}d}":         "b{c",
		"a}b{c}":           "c",
		"a{}b":             "a{}b",
		"a{}{b}":           "a{}{b}",
		"a{b":              "a{b",
		"a}":               "a}",
		"{":                "{",
		"":                 "",
		"{\x00}":           "\x00",
		"sku-{85123A}-é{}": "85123A",
	} {
		if got := leat.RouteKey(stream); got != want {
			t.Errorf("route key of %q is %q, want %q", stream, got, want)
		}
	}
}

// The hash of a stream decides its shard in every log there is.
func TestRouteHashNeverChanges(t *testing.T) {
	for stream, want := range map[string]string{
		"order-536365":  "389aa1b852dfeb00e19db12d402219d8",
		"order-{c42}-7": "e8536def9dd3f9cec97d1b07285ab8f9",
		"c42":           "e8536def9dd3f9cec97d1b07285ab8f9",
		"€":             "bca53fde466a76b7bee3e18997e94a7a",
		"{}x":           "43e819cfbef2c8fc69c227513504087b",
		"{a":            "bc119e029e13a93f1077865379c1620e",
		"":              "d41d8cd98f00b204e9800998ecf8427e",
	} {
		if got := leat.RouteHash(stream).String(); got != want {
			t.Errorf("hash of %q is %s, want %s", stream, got, want)
		}
	}
}

func TestHashKeyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawKey(t, "key")
		text, err := k.MarshalText()
		if err != nil || len(text) != 32 {
			t.Fatalf("text of %v is %q, %v", k, text, err)
		}
		var again leat.HashKey
		if err := again.UnmarshalText(text); err != nil || again != k {
			t.Fatalf("%q reads as %v, %v", text, again, err)
		}
	})
	for _, text := range []string{"", "00", "0000000000000000000000000000000g", "000000000000000000000000000000000"} {
		var k leat.HashKey
		if err := k.UnmarshalText([]byte(text)); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%q reads as %v, %v, want an error", text, k, err)
		}
	}
}

func drawKey(t *rapid.T, name string) (k leat.HashKey) {
	if rapid.Bool().Draw(t, name+" is any") {
		copy(k[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
		return k
	}
	return md5.Sum([]byte(rapid.StringN(0, 3, -1).Draw(t, name)))
}

func TestEvenShards(t *testing.T) {
	for n := 1; n <= 300; n++ {
		shards := leat.EvenShards(n)
		if _, _, err := (leat.Config{Shards: shards}).New(created); err != nil {
			t.Fatalf("%d even shards are refused: %v", n, err)
		}
		if len(shards) != n || shards[n-1].ID != leat.ShardNumber(n-1) {
			t.Fatalf("%d even shards are %v", n, shards)
		}
	}
	if got := leat.EvenShards(2)[1].From.String(); got != "80000000000000000000000000000000" {
		t.Errorf("two even shards meet at %s", got)
	}
	if got := leat.EvenShards(3)[1].From.String(); got != "55555555555555555555555555555555" {
		t.Errorf("three even shards meet at %s", got)
	}
}

// However often shards are split, open ones own each key exactly once.
func TestChildrenCoverTheirParent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := leat.EvenShards(rapid.IntRange(1, 4).Draw(t, "shards"))
		for range rapid.IntRange(0, 12).Draw(t, "splits") {
			i := rapid.IntRange(0, len(shards)-1).Draw(t, "shard")
			at := shards[i].Middle()
			if rapid.Bool().Draw(t, "anywhere") {
				at = drawKey(t, "at")
			}
			children, err := shards[i].Children(at, len(shards))
			inside := shards[i].From.Compare(at) < 0 && at.Compare(shards[i].To) <= 0
			if (err == nil) != inside || err != nil && !errors.Is(err, leat.ErrInvalid) {
				t.Fatalf("split %v at %v: %v", shards[i], at, err)
			}
			if err != nil || shards[i].Closed {
				continue
			}
			shards[i].Closed = true
			shards = append(shards, children[:]...)
		}
		if _, _, err := (leat.Config{Shards: shards}).New(created); err != nil {
			t.Fatalf("the shards %v are refused: %v", shards, err)
		}
		key := drawKey(t, "key")
		owners := 0
		for _, s := range shards {
			if s.Owns(key) && !s.Closed {
				owners++
			}
		}
		if i := leat.OpenShard(shards, key); owners != 1 || i < 0 || !shards[i].Owns(key) || shards[i].Closed {
			t.Fatalf("%d open shards own %v; OpenShard says %d", owners, key, i)
		}
	})
}

func TestShardOfOneKeyIsNotSplit(t *testing.T) {
	one := leat.HashKey{15: 7}
	s := leat.Shard{ID: leat.ShardNumber(0), From: one, To: one}
	if _, err := s.Children(s.Middle(), 1); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("a split at the middle of one key gives %v", err)
	}
	s.To[15]++
	if _, err := s.Children(s.Middle(), 1); err != nil {
		t.Errorf("a split of two keys: %v", err)
	}
	if got := leat.OpenShard([]leat.Shard{s}, leat.MaxHashKey); got != -1 {
		t.Errorf("the owner of a key nobody owns is %d", got)
	}
}

func TestShardNumber(t *testing.T) {
	if got := fmt.Sprint(leat.ShardNumber(42)); got != "shardId-000000000042" {
		t.Errorf("shard 42 is %s", got)
	}
}
