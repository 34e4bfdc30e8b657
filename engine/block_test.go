package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

// blockOf encodes events as one block of shard 3, from sequence 41 on. The first
// two are one Append.
func blockOf(t testing.TB, events []leat.Event) (key, block []byte, want []leat.Recorded) {
	t.Helper()
	const shard, first = 3, 41
	var entries []*entry
	size := blockHeaderSize
	for i := range events {
		e := &events[i]
		raw := appendRecord(nil, e)
		place, commit := uint32(0), uint64(first+i)
		if i == 1 {
			place, commit = 1, first
		}
		at := time.Unix(1700000000, int64(i)*3).UTC()
		setPlace(raw, place, uint64(7+i), at.UnixNano(), e.Time.UnixNano())
		entries = append(entries, &entry{raw: raw})
		size += len(raw)
		r := leat.Recorded{Event: *e, Shard: leat.ShardNumber(shard), Seq: uint64(first + i), Commit: commit, Version: uint64(7 + i), At: at}
		if r.ContentType == "" {
			r.ContentType = leat.DefaultContentType
		}
		want = append(want, r)
	}
	block = make([]byte, size)
	fillBlock(block, shard, first, entries)
	return blockKey(shard, uint64(first+len(events)-1)), block, want
}

var blockEvents = []leat.Event{
	{ID: "a", Stream: "order-1", Type: "Placed", Source: "orders", Time: time.Unix(0, 5).UTC(), Data: []byte(`{"n":1}`)},
	{
		ID: "b\x00", Stream: "order-\U0001f9fe", Type: "Päid", Source: "s", Time: time.Unix(-5, 1).UTC(), ContentType: "text/plain",
		Data: []byte{0, 0xff, 0}, Meta: leat.NewMeta("tenant", "ä\x00", "traceparent", ""),
	},
	{ID: strings.Repeat("i", 256), Stream: strings.Repeat("s", 256), Type: "T", Source: "s", Time: time.Unix(9, 9).UTC()},
}

// readBlock decodes a block whole.
func readBlock(key, block []byte) ([]leat.Recorded, error) {
	id, err := parseBlockKey(key)
	if err != nil {
		return nil, err
	}
	b, err := parseBlock(id, block)
	if err != nil {
		return nil, err
	}
	var given gift
	events := make([]leat.Recorded, b.len())
	for i := range events {
		given.event(&events[i], leat.ShardNumber(int(b.shard)), b.first+uint64(i), b.at(i))
	}
	return events, nil
}

func TestBlockKeepsEvents(t *testing.T) {
	key, block, want := blockOf(t, blockEvents)
	got, err := readBlock(key, block)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	clear(block)
	if !reflect.DeepEqual(got, want) {
		t.Error("the events share the block's memory")
	}
	got[0].Data = append(got[0].Data, "more than was there"...)
	got[1].Data[0] = 'x'
	if got[0].ID != "a" || got[1].Stream != want[1].Stream {
		t.Error("an event's strings share the memory of its data")
	}
}

func TestBlockOfOtherContentIsRefused(t *testing.T) {
	key, block, _ := blockOf(t, blockEvents)
	refuse := func(what string, key, block []byte) {
		t.Helper()
		if events, err := readBlock(key, block); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("%s: got %d events and %v, want ErrCorrupt", what, len(events), err)
		}
	}
	for i := range block {
		for bit := range 8 {
			flipped := bytes.Clone(block)
			flipped[i] ^= 1 << bit
			refuse("a flipped bit", key, flipped)
		}
	}
	for n := range block {
		refuse("a block cut short", key, block[:n])
	}
	refuse("a byte too many", key, append(bytes.Clone(block), 0))
	refuse("another shard's key", blockKey(4, 43), block)
	refuse("another sequence's key", blockKey(3, 44), block)
	refuse("a key that is not a block's", key[1:], block)

	newer := bytes.Clone(block)
	newer[0] = blockVersion + 1
	binary.LittleEndian.PutUint32(newer[4:], blockCRC(newer))
	if _, err := readBlock(key, newer); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a newer version: got %v, want an error that names it", err)
	}
}

// FuzzBlock gives the decoder any bytes, with a good checksum. What it accepts
// it must yield again after encoding it.
func FuzzBlock(f *testing.F) {
	key, block, _ := blockOf(f, blockEvents)
	f.Add(key, block)
	f.Add(key, block[:blockHeaderSize])
	huge := bytes.Clone(block)
	binary.LittleEndian.PutUint32(huge[blockHeaderSize:], 1<<31)
	f.Add(key, huge)
	f.Fuzz(func(t *testing.T, key, block []byte) {
		if len(block) >= blockHeaderSize {
			block = bytes.Clone(block)
			binary.LittleEndian.PutUint32(block[4:], blockCRC(block))
		}
		events, err := readBlock(key, block)
		if err != nil {
			if !errors.Is(err, leat.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		again := make([]*entry, len(events))
		size := blockHeaderSize
		for i := range events {
			e := &events[i]
			raw := appendRecord(nil, &e.Event)
			setPlace(raw, uint32(e.Seq-e.Commit), e.Version, e.At.UnixNano(), e.Time.UnixNano())
			again[i] = &entry{raw: raw}
			size += len(raw)
		}
		encoded := make([]byte, size)
		id, _ := parseBlockKey(key)
		fillBlock(encoded, id.shard, events[0].Seq, again)
		if got, err := readBlock(key, encoded); err != nil || !reflect.DeepEqual(got, events) {
			t.Fatalf("encoded again it reads as\n%+v, %v\nwant\n%+v", got, err, events)
		}
	})
}

func TestIndexEntriesAreReadWithCare(t *testing.T) {
	k := known{shard: 3, seq: 1 << 40, version: 7, at: -1, time: 1 << 62, digest: [16]byte{1, 15: 2}}
	value := k.append(nil)
	if got, err := parseKnown(value); err != nil || got != k {
		t.Errorf("got %+v, %v, want %+v", got, err, k)
	}
	for n := range value {
		if got, err := parseKnown(value[:n]); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("cut to %d bytes: got %+v, %v, want ErrCorrupt", n, got, err)
		}
	}
	key := appendRunKey(nil, "order-1", 9)
	for _, bad := range [][]byte{{}, {1}, {1, 5}, {1, 5, 0}, {1, 5, 6}, {1, 20, 10}, {1, 5, 2, 0, 0}, {1, 5, 2, 0x80}, {0x80}} {
		if r, err := parseChunk(nil, key, bad); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("run %x: got %+v, %v, want ErrCorrupt", bad, r, err)
		}
	}
	for n := range key {
		if r, err := parseChunk(nil, key[:n], []byte{1, 5, 2}); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("key %x: got %+v, %v, want ErrCorrupt", key[:n], r, err)
		}
	}
}
