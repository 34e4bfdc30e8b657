package leat_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/leathq/leat"
)

func TestCheckpointText(t *testing.T) {
	c := leat.Checkpoint{Log: "0199f3c0-1", Epoch: 3}
	c.Set("shardId-000000000001", 12)
	c.Set("shardId-000000000000", 536)
	const want = "0199f3c0-1@3,shardId-000000000000=536,shardId-000000000001=12"
	if got := c.String(); got != want {
		t.Fatalf("text is %q, want %q", got, want)
	}
	got, err := leat.ParseCheckpoint(want)
	if err != nil || !got.Equal(c) {
		t.Fatalf("parse of %q is %v, %v", want, got, err)
	}
	data, err := json.Marshal(c)
	if err != nil || string(data) != `"`+want+`"` {
		t.Fatalf("in JSON it is %s, %v", data, err)
	}
	var decoded leat.Checkpoint
	if err := json.Unmarshal(data, &decoded); err != nil || !decoded.Equal(c) {
		t.Fatalf("from JSON it is %v, %v", decoded, err)
	}
}

func TestParseCheckpointErrors(t *testing.T) {
	for _, text := range []string{
		"@", "log", "log@", "log@x", "log@-1", "log@1 ", "log@18446744073709551616", "lo g@1", strings.Repeat("l", 65) + "@1",
		"log@1,", "log@1,,", "log@1,shardId-000000000000", "log@1,shardId-000000000000=", "log@1,shardId-000000000000=x",
		"log@1,shardId-000000000000=-1", "log@1,shardId-0=1", "log@1,shardId-00000000000x=1", "log@1,shard-000000000000=1",
		"log@1,shardId-000000000000=1,", "log@1,shardId-000000000000=1,shardId-000000000000=1", "log@1,shardId-+00000000000=1",
	} {
		c, err := leat.ParseCheckpoint(text)
		var invalid *leat.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != "checkpoint" {
			t.Errorf("parse of %q is %v, %v, want an *InvalidError of the checkpoint", text, c, err)
		}
		if !c.IsZero() {
			t.Errorf("parse of %q returned %v beside the error", text, c)
		}
	}
	if c, err := leat.ParseCheckpoint(""); err != nil || !c.IsZero() {
		t.Errorf("parse of nothing is %v, %v, want the zero Checkpoint", c, err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	for _, seed := range []string{"", "@0", "log@1", "log@01,shardId-000000000000=007", "a.b_c-D@2,shardId-999999999999=18446744073709551615"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := leat.ParseCheckpoint(text)
		if err != nil {
			return
		}
		again, err := leat.ParseCheckpoint(c.String())
		if err != nil || !again.Equal(c) {
			t.Errorf("%q parses as %v, whose text parses as %v, %v", text, c, again, err)
		}
	})
}

func TestCheckpointEqual(t *testing.T) {
	seqs := func(ns ...uint64) leat.Checkpoint {
		c := leat.Checkpoint{Log: "log", Epoch: 1}
		for i, n := range ns {
			c.Set(leat.ShardNumber(i), n)
		}
		return c
	}
	for _, c := range []struct {
		name string
		a, b leat.Checkpoint
		want bool
	}{
		{"same", seqs(1, 2), seqs(1, 2), true},
		{"other sequence", seqs(1, 2), seqs(1, 3), false},
		{"an entry of 0 and none", seqs(1, 0), seqs(1), true},
		{"an entry and none", seqs(1, 2), seqs(1), false},
		{"other log", seqs(1), leat.Checkpoint{Log: "other", Epoch: 1, Seqs: seqs(1).Seqs}, false},
		{"other epoch", seqs(1), leat.Checkpoint{Log: "log", Epoch: 2, Seqs: seqs(1).Seqs}, false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%s: %v equal %v is %v, want %v", c.name, c.a, c.b, got, c.want)
		}
		if got := c.b.Equal(c.a); got != c.want {
			t.Errorf("%s: %v equal %v is %v, want %v", c.name, c.b, c.a, got, c.want)
		}
	}
}

func TestCheckpointCloneAndAdvance(t *testing.T) {
	c := leat.Checkpoint{Log: "log", Epoch: 1}
	c.Set(leat.ShardNumber(0), 1)
	d := c.Clone()
	d.Advance(leat.Batch{Shard: leat.ShardNumber(0), Epoch: 2, Next: 5})
	d.Advance(leat.Batch{Shard: leat.ShardNumber(1), Epoch: 2, Next: 7})
	if got := c.String(); got != "log@1,shardId-000000000000=1" {
		t.Errorf("the clone's change shows in the original: %s", got)
	}
	if got := d.String(); got != "log@2,shardId-000000000000=5,shardId-000000000001=7" {
		t.Errorf("advanced to %s", got)
	}
	var zero leat.Checkpoint
	if clone := zero.Clone(); !clone.IsZero() || !maps.Equal(clone.Seqs, zero.Seqs) {
		t.Errorf("the clone of the zero Checkpoint is %v", clone)
	}
}
