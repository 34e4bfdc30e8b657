package wire

import (
	"fmt"
	"time"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
)

// FromInfo returns the message of info.
func FromInfo(info leat.Info) *leatv1.LogInfo {
	return &leatv1.LogInfo{
		Id: info.ID, Epoch: info.Epoch, Single: info.Single, Created: info.Created.UnixNano(), Ended: FromEpochs(info.Ended),
	}
}

// Info returns what a message tells of a log.
func Info(m *leatv1.LogInfo) leat.Info {
	return leat.Info{
		ID: m.GetId(), Epoch: m.GetEpoch(), Single: m.GetSingle(), Created: moment(m.GetCreated()), Ended: Epochs(m.GetEnded()),
	}
}

// FromEpochs returns the messages of epochs.
func FromEpochs(epochs []leat.Epoch) []*leatv1.Epoch {
	out := make([]*leatv1.Epoch, len(epochs))
	for i, e := range epochs {
		out[i] = &leatv1.Epoch{Number: e.Number, Heads: make(map[string]uint64, len(e.Heads))}
		for shard, head := range e.Heads {
			out[i].Heads[string(shard)] = head
		}
	}
	return out
}

// Epochs returns the epochs of messages, nil when there are none.
func Epochs(in []*leatv1.Epoch) []leat.Epoch {
	var out []leat.Epoch
	for _, m := range in {
		e := leat.Epoch{Number: m.GetNumber(), Heads: make(map[leat.ShardID]uint64, len(m.GetHeads()))}
		for shard, head := range m.GetHeads() {
			e.Heads[leat.ShardID(shard)] = head
		}
		out = append(out, e)
	}
	return out
}

// FromLimits returns the message of limits.
func FromLimits(l leat.Limits) *leatv1.Limits {
	return &leatv1.Limits{
		EventBytes: uint64(l.EventBytes), AppendEvents: uint64(l.AppendEvents), AppendBytes: uint64(l.AppendBytes),
	}
}

// Limits returns the limits of a message.
func Limits(m *leatv1.Limits) leat.Limits {
	return leat.Limits{
		EventBytes: int(m.GetEventBytes()), AppendEvents: int(m.GetAppendEvents()), AppendBytes: int(m.GetAppendBytes()),
	}
}

// FromShards returns the messages of shards.
func FromShards(shards []leat.Shard) []*leatv1.Shard {
	out := make([]*leatv1.Shard, len(shards))
	for i, s := range shards {
		out[i] = &leatv1.Shard{
			Id: string(s.ID), From: s.From[:], To: s.To[:], Oldest: s.Oldest, Head: s.Head, Closed: s.Closed,
		}
		for _, p := range s.Parents {
			out[i].Parents = append(out[i].Parents, string(p))
		}
	}
	return out
}

// Shards returns the shards of messages, nil when there are none, and an
// [*leat.InvalidError] when a hash key is none.
func Shards(in []*leatv1.Shard) ([]leat.Shard, error) {
	var out []leat.Shard
	for i, m := range in {
		s := leat.Shard{ID: leat.ShardID(m.GetId()), Oldest: m.GetOldest(), Head: m.GetHead(), Closed: m.GetClosed()}
		var err error
		if s.From, err = HashKey(fmt.Sprintf("shards[%d].from", i), m.GetFrom()); err != nil {
			return nil, err
		}
		if s.To, err = HashKey(fmt.Sprintf("shards[%d].to", i), m.GetTo()); err != nil {
			return nil, err
		}
		for _, p := range m.GetParents() {
			s.Parents = append(s.Parents, leat.ShardID(p))
		}
		out = append(out, s)
	}
	return out, nil
}

// HashKey returns the hash key that b holds, and an [*leat.InvalidError] that
// names the field when it holds none.
func HashKey(field string, b []byte) (leat.HashKey, error) {
	if len(b) != len(leat.HashKey{}) {
		return leat.HashKey{}, &leat.InvalidError{Field: field, Limit: "16 bytes", Got: fmt.Sprintf("%d bytes", len(b))}
	}
	return leat.HashKey(b), nil
}

// FromFilter returns the message of f, nil for the zero Filter.
func FromFilter(f leat.Filter) *leatv1.Filter {
	if f.Equal(leat.Filter{}) {
		return nil
	}
	return &leatv1.Filter{
		Streams: f.Streams, Categories: f.Categories, Types: f.Types, System: f.System, Where: f.Where,
	}
}

// Filter returns the filter of a message.
func Filter(m *leatv1.Filter) leat.Filter {
	return leat.Filter{
		Streams: m.GetStreams(), Categories: m.GetCategories(), Types: m.GetTypes(),
		System: m.GetSystem(), Where: m.GetWhere(),
	}
}

// FromLease returns the message of l.
func FromLease(l leat.Lease) *leatv1.Lease {
	return &leatv1.Lease{
		App: l.App, Shard: string(l.Shard), Owner: l.Owner, Token: l.Token, Expires: l.Expires.UnixNano(),
	}
}

// Lease returns the lease of a message.
func Lease(m *leatv1.Lease) leat.Lease {
	return leat.Lease{
		App: m.GetApp(), Shard: leat.ShardID(m.GetShard()), Owner: m.GetOwner(),
		Token: m.GetToken(), Expires: moment(m.GetExpires()),
	}
}

// FromFleet returns the message of f.
func FromFleet(f leat.Fleet) *leatv1.FleetResponse {
	m := &leatv1.FleetResponse{}
	for _, w := range f.Members {
		m.Members = append(m.Members, &leatv1.Member{Owner: w.Owner, Expires: w.Expires.UnixNano()})
	}
	for _, l := range f.Leases {
		m.Leases = append(m.Leases, FromLease(l))
	}
	return m
}

// Fleet returns the fleet of a message.
func Fleet(m *leatv1.FleetResponse) leat.Fleet {
	var f leat.Fleet
	for _, w := range m.GetMembers() {
		f.Members = append(f.Members, leat.Member{Owner: w.GetOwner(), Expires: moment(w.GetExpires())})
	}
	for _, l := range m.GetLeases() {
		f.Leases = append(f.Leases, Lease(l))
	}
	return f
}

// FromMillis returns the duration that a message gives in milliseconds, at most
// most.
func FromMillis(ms uint64, most time.Duration) time.Duration {
	if ms > uint64(most/time.Millisecond) {
		return most
	}
	return time.Duration(ms) * time.Millisecond
}

// Millis returns d in milliseconds, rounded up, 0 when it is negative.
func Millis(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64((d-1)/time.Millisecond) + 1
}
