package leat_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

func TestOriginMeta(t *testing.T) {
	r := leat.Recorded{Event: leat.Event{Meta: leat.NewMeta("a", "1")}, Shard: leat.ShardNumber(0), Seq: 7}
	first := r.OriginMeta("L1")
	if got := fmt.Sprint(first); got != "[{a 1} {originlog L1} {originseq 7} {originshard shardId-000000000000}]" {
		t.Errorf("from the first log it goes with %v", got)
	}
	r.Meta, r.Seq = first, 8
	if got := r.OriginMeta("L2"); !slices.Equal(got, first) {
		t.Errorf("from the second log it goes with %v", got)
	}
}

func TestMeta(t *testing.T) {
	m := leat.NewMeta("b", "1", "c", "2", "a", "3", "b", "4")
	want := leat.Meta{{Key: "a", Value: "3"}, {Key: "b", Value: "4"}, {Key: "c", Value: "2"}}
	if !slices.Equal(m, want) {
		t.Fatalf("NewMeta made %v, want %v", m, want)
	}
	changed, longer := m.With("b", "5"), m.With("aa", "6")
	if !slices.Equal(m, want) {
		t.Fatalf("With changed what it was called on to %v", m)
	}
	if got := changed.Get("b"); got != "5" {
		t.Errorf("the value set is %q", got)
	}
	if got := fmt.Sprint(longer); got != "[{a 3} {aa 6} {b 4} {c 2}]" {
		t.Errorf("with another key it is %v", got)
	}
	if got := m.Get("absent") + leat.Meta(nil).Get("a"); got != "" {
		t.Errorf("the value of an absent key is %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("NewMeta took a key without a value")
		}
	}()
	leat.NewMeta(strings.Fields("a 1 b")...)
}

func TestEventSize(t *testing.T) {
	e := leat.Event{
		ID: "1", Stream: "22", Type: "333", Source: "4444", ContentType: "55555", Data: []byte("666666"),
		Meta: leat.NewMeta("k", "v", "key", "€"), Time: time.Now(),
	}
	if got := e.Size(); got != 1+2+3+4+5+6+2+6 {
		t.Errorf("Size is %d, want 29", got)
	}
}

func TestCategory(t *testing.T) {
	for stream, want := range map[string]string{
		"order-1": "order", "order-1-2": "order", "order": "order", "-1": "", "": "", "order-": "order", "$log": "$log",
	} {
		if got := leat.Category(stream); got != want {
			t.Errorf("category of %q is %q, want %q", stream, got, want)
		}
	}
}

func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := make(map[string]bool)
	for range 1000 {
		before := time.Now().UnixMilli()
		id := leat.NewID()
		after := time.Now().UnixMilli()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%q is no UUIDv7, or there twice", id)
		}
		seen[id] = true
		b, err := hex.DecodeString(id[:8] + id[9:13])
		if err != nil {
			t.Fatal(err)
		}
		var ms int64
		for _, x := range b {
			ms = ms<<8 | int64(x)
		}
		if ms < before || ms > after {
			t.Fatalf("%q says it was made at %d, but that was from %d to %d", id, ms, before, after)
		}
	}
}

// Logs keep digests for good: these are computed apart from this code.
func TestDigestNeverChanges(t *testing.T) {
	every := make([]byte, 2048)
	for i := range every {
		every[i] = byte(i)
	}
	for _, c := range []struct {
		event leat.Event
		want  string
	}{
		{leat.Event{}, "0905feb2da4bdb6019b5b2ec34cfa2ad"},
		{leat.Event{ContentType: leat.DefaultContentType, Data: []byte{}, Meta: leat.Meta{}}, "0905feb2da4bdb6019b5b2ec34cfa2ad"},
		{leat.Event{
			ID: "not counted", Stream: "not counted", Time: time.Now(), Type: "OrderPlaced", Source: "orders", Data: []byte(`{"total":12}`),
			Meta: leat.NewMeta("traceparent", "", "correlationid", "c-1"),
		}, "381bcf63308cb256abaa07d9f36ff79c"},
		{leat.Event{Type: "T\x00", Source: "é", ContentType: "text/plain", Data: every}, "5db3c1bda23ea0971297962ad4703d30"},
	} {
		if got := fmt.Sprintf("%x", leat.Digest(&c.event)); got != c.want {
			t.Errorf("digest of %.100v is %s, want %s", c.event, got, c.want)
		}
	}
}

func TestDigestTellsFieldsApart(t *testing.T) {
	seen := make(map[[16]byte]int)
	for i, e := range []leat.Event{
		{Type: "ab", Source: "c"}, {Type: "a", Source: "bc"}, {Type: "abc"}, {Source: "abc"}, {Data: []byte("abc")},
		{Meta: leat.NewMeta("a", "bc")}, {Meta: leat.NewMeta("ab", "c")}, {Meta: leat.NewMeta("a", "", "bc", "")}, {ContentType: "abc"},
	} {
		d := leat.Digest(&e)
		if j, ok := seen[d]; ok {
			t.Errorf("events %d and %d have one digest", i, j)
		}
		seen[d] = i
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind error
		want string
	}{
		{&leat.InvalidError{Field: "events[3].stream", Limit: "1 to 256 bytes of UTF-8", Got: "nothing"}, leat.ErrInvalid,
			"invalid events[3].stream: must be 1 to 256 bytes of UTF-8, got nothing"},
		{&leat.InvalidError{Field: "events[3].meta.k", Limit: "UTF-8"}, leat.ErrInvalid, "invalid events[3].meta.k: must be UTF-8"},
		{leat.ExpectVersion("a-1", 3).Check(5), leat.ErrConflict, `conflict: stream "a-1" is at version 5, expected version 3`},
		{leat.ExpectNew("a-1").Check(5), leat.ErrConflict, `conflict: stream "a-1" is at version 5, expected to be new`},
		{leat.ExpectExists("a-1").Check(0), leat.ErrConflict, `conflict: stream "a-1" is at version 0, expected to exist`},
		{&leat.IDReusedError{Index: 2, Stream: "a-1", ID: "x", Reason: "given twice in one append"}, leat.ErrIDReused,
			`event ID "x" of stream "a-1" (events[2]) is in use: given twice in one append`},
		{&leat.PartialError{Known: []int{1, 3}, Total: 5}, leat.ErrPartial, "2 of 5 events are recorded already (1, 3), nothing written: append the rest"},
		{&leat.PartialError{Known: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, Total: 500}, leat.ErrPartial,
			"10 of 500 events are recorded already (0, 1, 2, 3, 4, 5, 6, 7, …), nothing written: append the rest"},
		{&leat.TrimmedError{Stream: "a-1", Oldest: 4}, leat.ErrTrimmed, `trimmed: stream "a-1" is kept from version 4 on`},
		{&leat.TrimmedError{Shard: leat.ShardNumber(0), Oldest: 4}, leat.ErrTrimmed, "trimmed: shardId-000000000000 is kept from sequence 4 on"},
		{&leat.DivergedError{Reason: "why"}, leat.ErrDiverged, "diverged: why; reset the reader to a checkpoint of this log or rebuild it"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("the error reads %q, want %q", got, c.want)
		}
		if !errors.Is(c.err, c.kind) {
			t.Errorf("%q is no %q", c.err, c.kind)
		}
	}
}
