package leat_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))

// lineage returns a closed shard and its two children.
func lineage() []leat.Shard {
	root := leat.EvenShards(1)[0]
	children, err := root.Children(root.Middle(), 1)
	if err != nil {
		panic(err)
	}
	root.Closed = true
	return []leat.Shard{root, children[0], children[1]}
}

func TestConfigNew(t *testing.T) {
	info, shards, err := leat.Config{}.New(created)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.ID) != 36 || info.Epoch != 1 || info.Single || !info.Created.Equal(created) || info.Created.Location() != time.UTC {
		t.Errorf("the zero Config is a log %+v", info)
	}
	if fmt.Sprint(shards) != fmt.Sprint(leat.EvenShards(1)) {
		t.Errorf("the zero Config has the shards %v", shards)
	}

	given := lineage()
	given[1].Head, given[1].Oldest = 9, 4
	c := leat.Config{
		ID: "log_1.0-x", Shards: given,
		Ended: []leat.Epoch{{Number: 1, Heads: map[leat.ShardID]uint64{leat.ShardNumber(0): 7}}, {Number: 5}},
	}
	info, shards, err = c.New(created)
	if err != nil {
		t.Fatal(err)
	}
	if info.ID != c.ID || info.Epoch != 6 || fmt.Sprint(info.Ended) != fmt.Sprint(c.Ended) {
		t.Errorf("a restored log is %+v", info)
	}
	if fmt.Sprint(shards) != fmt.Sprint(lineage()) {
		t.Errorf("its shards are %v, want %v", shards, lineage())
	}
	info.Ended[0].Heads[leat.ShardNumber(0)], shards[1].Parents[0] = 8, "changed"
	if c.Ended[0].Heads[leat.ShardNumber(0)] != 7 || given[1].Parents[0] != leat.ShardNumber(0) {
		t.Error("what New returned shares memory with the Config")
	}
}

func TestConfigErrors(t *testing.T) {
	shards := func(change func(s []leat.Shard) []leat.Shard) leat.Config {
		return leat.Config{Shards: change(lineage())}
	}
	for _, c := range []struct {
		name, field string
		config      leat.Config
	}{
		{"a blank in the ID", "log ID", leat.Config{ID: "a log"}},
		{"an ID that leads out of a folder", "log ID", leat.Config{ID: ".."}},
		{"a long ID", "log ID", leat.Config{ID: strings.Repeat("l", 65)}},
		{"a single log of two shards", "shards", leat.Config{Single: true, Shards: leat.EvenShards(2)}},
		{"no shards", "shards", leat.Config{Shards: []leat.Shard{}}},
		{"epochs out of order", "ended[1]", leat.Config{Ended: []leat.Epoch{{Number: 2}, {Number: 2}}}},
		{"epoch 0", "ended[0]", leat.Config{Ended: []leat.Epoch{{}}}},
		{"a number left out", "shards[1].id", shards(func(s []leat.Shard) []leat.Shard { s[1].ID = leat.ShardNumber(2); return s })},
		{"an open parent", "shards[1].parents", shards(func(s []leat.Shard) []leat.Shard { s[0].Closed = false; return s })},
		{"an unknown parent", "shards[2].parents", shards(func(s []leat.Shard) []leat.Shard { s[2].Parents[0] = leat.ShardNumber(9); return s })},
		{"a shard that is its own parent", "shards[2].parents", shards(func(s []leat.Shard) []leat.Shard { s[2].Parents[0] = s[2].ID; return s })},
		{"a closed shard without children", "shards[2]", shards(func(s []leat.Shard) []leat.Shard { s[2].Closed = true; return s })},
		{"a gap", "shards", shards(func(s []leat.Shard) []leat.Shard { s[1].To[0]--; return s })},
		{"an overlap", "shards", shards(func(s []leat.Shard) []leat.Shard { s[1].To[0]++; return s })},
		{"no beginning", "shards", shards(func(s []leat.Shard) []leat.Shard { s[1].From[15] = 1; return s })},
		{"no end", "shards", shards(func(s []leat.Shard) []leat.Shard { s[2].To[15] = 0; return s })},
		{"a range that ends before it begins", "shards", shards(func(s []leat.Shard) []leat.Shard { s[1].From, s[1].To = s[1].To, s[1].From; return s })},
		{"two shards over all keys", "shards", shards(func(s []leat.Shard) []leat.Shard { s[2].From, s[1].To = s[1].From, s[2].To; return s })},
	} {
		_, _, err := c.config.New(created)
		var invalid *leat.InvalidError
		if !errors.As(err, &invalid) || invalid.Field != c.field {
			t.Errorf("%s: got %v, want an *InvalidError of %q", c.name, err, c.field)
		}
	}
}
