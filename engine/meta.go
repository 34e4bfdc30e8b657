package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/leathq/leat"
)

// storedInfo is leat.Info as the store holds it.
type storedInfo struct {
	ID      string        `json:"id"`
	Epoch   uint64        `json:"epoch"`
	Single  bool          `json:"single,omitempty"`
	Created time.Time     `json:"created"`
	Ended   []storedEpoch `json:"ended,omitempty"`
}

type storedEpoch struct {
	Number uint64                  `json:"number"`
	Heads  map[leat.ShardID]uint64 `json:"heads"`
}

// storedShard is a shard at one moment: where its groups went on from.
type storedShard struct {
	From    leat.HashKey   `json:"from"`
	To      leat.HashKey   `json:"to"`
	Parents []leat.ShardID `json:"parents,omitempty"`
	Closed  bool           `json:"closed,omitempty"`
	Oldest  uint64         `json:"oldest"`
	Head    uint64         `json:"floorhead,omitempty"`
	At      int64          `json:"floorat,omitempty"` // of the event at Head
	Group   uint64         `json:"group,omitempty"`   // number of the first group that is not in this
}

// initialise makes an empty store hold a log without events.
func (s *store) initialise(info leat.Info, shards []leat.Shard) error {
	if err := s.mustBeEmpty(); err != nil {
		return err
	}
	if err := s.makeBlocksDir(); err != nil {
		return err
	}
	b := s.NewBatch()
	defer b.Close()
	if err := saveInfo(b, info); err != nil {
		return err
	}
	for i, shard := range shards {
		t := &tail{Shard: shard, number: uint32(i)}
		set(b, shardKey(t.number), t.text(1))
	}
	set(b, formatKey, []byte(formatVersion))
	return s.applySync(b)
}

// makeBlocksDir makes the directory of the files of blocks, durably so.
func (s *store) makeBlocksDir() error {
	if err := s.fs.MkdirAll(s.fs.PathJoin(s.dir, blocksDir), 0o755); err != nil {
		return err
	}
	return syncDir(s.fs, s.dir)
}

// saveInfo writes what identifies a log.
func saveInfo(b *pebble.Batch, info leat.Info) error {
	stored := storedInfo{ID: info.ID, Epoch: info.Epoch, Single: info.Single, Created: info.Created}
	for _, e := range info.Ended {
		stored.Ended = append(stored.Ended, storedEpoch(e))
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	set(b, infoKey, text)
	return nil
}

var errExists = fmt.Errorf("there is a log already: %w", fs.ErrExist)

func (s *store) mustBeEmpty() error {
	_, closer, err := s.Get(formatKey)
	if err == nil {
		return errors.Join(errExists, closer.Close())
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return corruptOr(err)
	}
	it, err := s.NewIter(nil)
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	if it.First() {
		return errForeign
	}
	if names, err := s.fs.List(s.fs.PathJoin(s.dir, blocksDir)); err == nil && len(names) > 0 {
		return errBlocks
	}
	return corruptOr(it.Error())
}

var errBlocks = fmt.Errorf("%w: the directory holds blocks, but the store does not know of a log: go back to a backup", leat.ErrCorrupt)

var errForeign = errors.New("the directory holds a Pebble store that is not a log's")

// text returns a shard as it is stored before a group.
func (t *tail) text(group uint64) []byte {
	text, err := json.Marshal(storedShard{
		From: t.From, To: t.To, Parents: t.Parents, Closed: t.Closed, Oldest: t.Oldest, Head: t.Head, At: t.lastAt,
		Group: group,
	})
	if err != nil {
		panic(err) // of numbers and names there is none
	}
	return text
}

// readMark returns where a group begins, of which only the number is known when
// the store does not say it.
func (s *store) readMark(group uint64) blockEnd {
	if value, err := s.value(markKey); err == nil {
		if mark, err := parseBlockEnd(value); err == nil && mark.group == group {
			return mark
		}
	}
	return blockEnd{group: group}
}

func (s *store) readInfo() (leat.Info, error) {
	format, err := s.value(formatKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return leat.Info{}, s.notALog()
	case err != nil:
		return leat.Info{}, corruptOr(err)
	case string(format) == firstFormat, string(format) == secondFormat:
		return leat.Info{}, fmt.Errorf("its format is version %s: open the log once to bring it to version %s: %w", format, formatVersion, leat.ErrUnsupported)
	case string(format) != formatVersion:
		return leat.Info{}, fmt.Errorf("its format is version %q, this engine reads version %s: %w", format, formatVersion, leat.ErrUnsupported)
	}
	text, err := s.value(infoKey)
	if err != nil {
		return leat.Info{}, fmt.Errorf("%w: no description of the log: %w", leat.ErrCorrupt, err)
	}
	var stored storedInfo
	if err := json.Unmarshal(text, &stored); err != nil {
		return leat.Info{}, fmt.Errorf("%w: description of the log: %w", leat.ErrCorrupt, err)
	}
	info := leat.Info{ID: stored.ID, Epoch: stored.Epoch, Single: stored.Single, Created: stored.Created}
	for _, e := range stored.Ended {
		info.Ended = append(info.Ended, leat.Epoch(e))
	}
	return info, nil
}

// notALog tells a store in which Create was interrupted from a foreign one.
func (s *store) notALog() error {
	if err := s.mustBeEmpty(); err != nil {
		return err
	}
	return fmt.Errorf("%w: creating it was interrupted; create it again", leat.ErrNotFound)
}

func (s *store) readShards() ([]*tail, error) {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{shardPrefix}, UpperBound: []byte{shardPrefix + 1}})
	if err != nil {
		return nil, corruptOr(err)
	}
	defer it.Close()
	var shards []*tail
	for it.First(); it.Valid(); it.Next() {
		n := len(shards)
		if !bytes.Equal(it.Key(), shardKey(uint32(n))) {
			return nil, fmt.Errorf("%w: no description of %s", leat.ErrCorrupt, leat.ShardNumber(n))
		}
		if shards, err = describe(shards, uint32(n), it.Value()); err != nil {
			return nil, err
		}
	}
	if err := it.Error(); err != nil {
		return nil, corruptOr(err)
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("%w: no shards", leat.ErrCorrupt)
	}
	return shards, nil
}

// describe makes a shard, which may be the next one, what a text says.
func describe(shards []*tail, number uint32, text []byte) ([]*tail, error) {
	id := leat.ShardNumber(int(number))
	var stored storedShard
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("%w: description of %s: %w", leat.ErrCorrupt, id, err)
	}
	switch {
	case int(number) > len(shards):
		return nil, fmt.Errorf("%w: no description of %s", leat.ErrCorrupt, leat.ShardNumber(len(shards)))
	case int(number) == len(shards):
		shards = append(shards, &tail{number: number, bell: new(bell)})
	}
	t := shards[number]
	t.Shard = leat.Shard{
		ID: id, From: stored.From, To: stored.To, Parents: stored.Parents,
		Closed: stored.Closed, Oldest: stored.Oldest, Head: stored.Head,
	}
	t.lastAt, t.group, t.parents = stored.At, stored.Group, nil
	for _, p := range t.Parents {
		i := slices.IndexFunc(shards[:number], func(s *tail) bool { return s.ID == p })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s has the parent %s, which does not stand before it", leat.ErrCorrupt, id, p)
		}
		t.parents = append(t.parents, shards[i])
	}
	return shards, nil
}

// set adds a pair to a batch. It fails only for indexed batches, which ours are
// not.
func set(b *pebble.Batch, key, value []byte) { _ = b.Set(key, value, nil) }

// value returns a copy of a value.
func (s *store) value(key []byte) ([]byte, error) {
	v, closer, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return slices.Clone(v), closer.Close()
}

func cloneInfo(info leat.Info) leat.Info {
	info.Ended = slices.Clone(info.Ended)
	for i := range info.Ended {
		info.Ended[i].Heads = maps.Clone(info.Ended[i].Heads)
	}
	return info
}
