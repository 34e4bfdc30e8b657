package leattest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leathq/leat"
)

func (t *lab) scanner() leat.Scanner { return capability[leat.Scanner](t) }

var scanning = []check{
	{name: "a Scanner shows what ReadShard gives", prove: func(t *lab) {
		scanner := t.scanner()
		var shard leat.ShardID
		for i := range 12 {
			events := t.events(repeat(fmt.Sprintf("%s-%d", []string{"a", "b"}[i%2], i%3), 1+i%4)...)
			for j := range events {
				events[j].Type = []string{"Tested", "Proven"}[(i+j)%2]
				events[j].Meta = leat.NewMeta("correlationid", fmt.Sprint(i))
				events[j].Data = bytes.Repeat([]byte{byte(i), byte(j)}, i*j)
			}
			shard = t.append(events).Shard
		}
		head := t.shard(shard).Head
		for _, f := range []leat.Filter{
			{}, {System: true}, {Streams: []string{"a-1"}}, {Categories: []string{"b"}, Types: []string{"Proven"}}, {Types: []string{"absent"}},
		} {
			for _, limit := range []int{0, 1, 3, 1000} {
				for after := uint64(0); after <= head; after++ {
					t.sameScan(scanner, shard, after, leat.ReadOptions{Filter: f, Limit: limit})
				}
			}
		}
	}},
	{name: "a Scanner ends with its visitor's error", prove: func(t *lab) {
		scanner := t.scanner()
		shard := t.appendTo("a-1").Shard
		t.append(t.events("{a-1}x", "a-1", "{a-1}x", "a-1"))
		t.appendTo("a-1")
		enough := errors.New("enough")
		for _, f := range []leat.Filter{{}, {Streams: []string{"a-1"}}} {
			for after := range uint64(6) {
				for _, want := range t.readShard(shard, after, leat.ReadOptions{Filter: f}).Events {
					var shown []uint64
					b, err := scanner.ScanShard(t.ctx, shard, after, leat.ReadOptions{Filter: f}, func(e *leat.Recorded) error {
						shown = append(shown, e.Seq)
						if e.Seq == want.Seq {
							return enough
						}
						return nil
					})
					doing := fmt.Sprintf("scan after %d with %+v until sequence %d", after, f, want.Seq)
					if err != enough { //nolint:errorlint // it is to come back as it is
						t.Fatalf("%s: got error %v, want the visitor's, as it is", doing, err)
					}
					if len(shown) == 0 || shown[len(shown)-1] != want.Seq {
						t.Fatalf("%s: the visitor was shown %v", doing, shown)
					}
					equal(t, doing+": Next", b.Next, want.Seq-1)
					equal(t, doing+": Closed", b.Closed, false)
				}
			}
		}
	}},
	{name: "a Scanner tells what ReadShard tells", prove: func(t *lab) {
		scanner := t.scanner()
		shard := t.appendTo("a-1").Shard
		nobody := func(*leat.Recorded) error { return nil }
		_, err := scanner.ScanShard(t.ctx, "shardId-000000000999", 0, leat.ReadOptions{}, nobody)
		t.is(err, leat.ErrNotFound, "scan an unknown shard")
		_, err = scanner.ScanShard(t.ctx, shard, 2, leat.ReadOptions{}, nobody)
		t.is(err, leat.ErrDiverged, "scan beyond the head")
		t.split(shard)
		t.sameScan(scanner, shard, 0, leat.ReadOptions{})
		t.sameScan(scanner, shard, 1, leat.ReadOptions{})
		t.trim(shard, 2)
		_, err = scanner.ScanShard(t.ctx, shard, 0, leat.ReadOptions{}, nobody)
		t.is(err, leat.ErrTrimmed, "scan what is trimmed")
	}},
}

// sameScan fails the test unless ScanShard shows and returns what ReadShard
// returns.
func (t *lab) sameScan(scanner leat.Scanner, shard leat.ShardID, after uint64, o leat.ReadOptions) {
	t.Helper()
	want := t.readShard(shard, after, o)
	var shown []leat.Recorded
	got, err := scanner.ScanShard(t.ctx, shard, after, o, func(e *leat.Recorded) error {
		shown = append(shown, deepClone(e))
		return nil
	})
	doing := fmt.Sprintf("scan %s after %d with %+v", shard, after, o)
	t.ok(err, doing)
	sameEvents(t, doing, shown, want.Events)
	equal(t, doing+": events beside the visitor's", len(got.Events), 0)
	equal(t, doing+": Shard", got.Shard, want.Shard)
	equal(t, doing+": Epoch", got.Epoch, want.Epoch)
	equal(t, doing+": Next", got.Next, want.Next)
	equal(t, doing+": Head", got.Head, want.Head)
	equal(t, doing+": Closed", got.Closed, want.Closed)
}

// deepClone returns an event that shares no memory with e.
func deepClone(e *leat.Recorded) leat.Recorded {
	c := *e
	for _, s := range []*string{&c.ID, &c.Stream, &c.Type, &c.Source, &c.ContentType} {
		*s = strings.Clone(*s)
	}
	c.Shard = leat.ShardID(strings.Clone(string(c.Shard)))
	c.Data = bytes.Clone(c.Data)
	c.Meta = slices.Clone(c.Meta)
	for i := range c.Meta {
		c.Meta[i].Key, c.Meta[i].Value = strings.Clone(c.Meta[i].Key), strings.Clone(c.Meta[i].Value)
	}
	return c
}
