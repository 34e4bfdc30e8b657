package leat

import (
	"bytes"
	"crypto/md5" //nolint:gosec // spreads keys as Kinesis does; nothing secret depends on it
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// A ShardID names a shard within its log, in the form Kinesis uses:
// "shardId-000000000000".
type ShardID string

// ShardNumber returns the ID of the n-th shard a log ever had, from 0.
func ShardNumber(n int) ShardID { return ShardID(fmt.Sprintf("shardId-%012d", n)) }

// A HashKey is a place in the key space that shards divide: a 128-bit number,
// big-endian. Its text form is 32 hexadecimal digits.
type HashKey [16]byte

// MaxHashKey is the last hash key.
var MaxHashKey = HashKey(bytes.Repeat([]byte{0xff}, 16))

// Compare returns -1, 0 or +1 as k lies below, at or above o.
func (k HashKey) Compare(o HashKey) int { return bytes.Compare(k[:], o[:]) }

func (k HashKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler.
func (k HashKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *HashKey) UnmarshalText(text []byte) error {
	if len(text) != 32 {
		return &InvalidError{Field: "hash key", Limit: "32 hexadecimal digits", Got: brief(string(text))}
	}
	if _, err := hex.Decode(k[:], text); err != nil {
		return &InvalidError{Field: "hash key", Limit: "32 hexadecimal digits", Got: brief(string(text))}
	}
	return nil
}

// pred returns the key below k, which is not the first.
func (k HashKey) pred() HashKey {
	for i := len(k) - 1; i >= 0; i-- {
		k[i]--
		if k[i] != 0xff {
			break
		}
	}
	return k
}

// RouteKey returns the part of a stream's name that decides its shard: what
// stands between the first "{" and the next "}" when that is not empty, else
// the whole name. "order-{c42}-7" and "customer-{c42}" share a route key, so
// one Append can write both. (The hash tag of Redis Cluster.)
func RouteKey(stream string) string {
	if _, rest, ok := strings.Cut(stream, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return stream
}

// RouteHash returns the hash key of a stream: the MD5 of its route key, as
// Kinesis hashes partition keys. This never changes.
func RouteHash(stream string) HashKey {
	return md5.Sum([]byte(RouteKey(stream))) //nolint:gosec // see the import
}

// A Shard is a part of a log with a total order.
type Shard struct {
	ID       ShardID
	From, To HashKey   // hash keys it owns, both included
	Parents  []ShardID // shards it continues; none for a log's first shards
	Oldest   uint64    // first sequence kept, or to come: 1 unless trimmed
	Head     uint64    // last durable sequence; 0 when there was none. Always the end of an Append
	Closed   bool      // no more events will come
}

// Owns reports whether k is one of the shard's hash keys.
func (s Shard) Owns(k HashKey) bool { return s.From.Compare(k) <= 0 && k.Compare(s.To) <= 0 }

// Middle returns the hash key at which Split divides s into equal halves.
func (s Shard) Middle() HashKey {
	from, to := new(big.Int).SetBytes(s.From[:]), new(big.Int).SetBytes(s.To[:])
	mid := from.Add(from, to)
	mid.Rsh(mid.Add(mid, big.NewInt(1)), 1)
	var k HashKey
	mid.FillBytes(k[:])
	return k
}

// Children returns the two shards that splitting s at a key makes, numbered
// from next. The key must be above s.From and not above s.To.
func (s Shard) Children(at HashKey, next int) ([2]Shard, error) {
	if at.Compare(s.From) <= 0 || at.Compare(s.To) > 0 {
		return [2]Shard{}, &InvalidError{
			Field: "hash key", Got: at.String(),
			Limit: fmt.Sprintf("above %s and at most %s, to split %s", s.From, s.To, s.ID),
		}
	}
	return [2]Shard{
		{ID: ShardNumber(next), From: s.From, To: at.pred(), Parents: []ShardID{s.ID}, Oldest: 1},
		{ID: ShardNumber(next + 1), From: at, To: s.To, Parents: []ShardID{s.ID}, Oldest: 1},
	}, nil
}

// EvenShards returns n open shards that divide the hash keys evenly, for
// Config.Shards.
func EvenShards(n int) []Shard {
	size := new(big.Int).Lsh(big.NewInt(1), 128)
	bound := func(i int) (k HashKey) {
		b := new(big.Int).Mul(size, big.NewInt(int64(i)))
		b.Div(b, big.NewInt(int64(n))).FillBytes(k[:])
		return k
	}
	shards := make([]Shard, n)
	for i := range shards {
		shards[i] = Shard{ID: ShardNumber(i), From: bound(i), To: MaxHashKey, Oldest: 1}
		if i+1 < n {
			shards[i].To = bound(i + 1).pred()
		}
	}
	return shards
}

// OpenShard returns the index of the open shard that owns k, -1 when there is
// none.
func OpenShard(shards []Shard, k HashKey) int {
	for i := range shards {
		if !shards[i].Closed && shards[i].Owns(k) {
			return i
		}
	}
	return -1
}
