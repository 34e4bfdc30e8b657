package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// upgrade brings a store of an earlier version of the format to this one. Version
// 2 kept the blocks in the store. Version 1 also wrote the index with the blocks,
// so that it covers all of them, and kept UUIDs as text. It may be interrupted
// anywhere, and begins again then.
func (s *store) upgrade(o Options) error {
	format, err := s.value(formatKey)
	if errors.Is(err, pebble.ErrNotFound) || err == nil && string(format) != firstFormat && string(format) != secondFormat {
		return nil
	}
	if err != nil {
		return corruptOr(err)
	}
	s.fuse.log.Info("the log is brought to a new version of its format", "dir", s.dir, "from", string(format), "to", formatVersion)
	if string(format) == firstFormat {
		if err := s.upgradeIDs(); err != nil {
			return err
		}
	}
	shards, err := s.readShards()
	if err != nil {
		return err
	}
	end, err := s.upgradeBlocks(o, shards)
	if err != nil {
		return err
	}
	b := s.NewBatch()
	defer b.Close()
	for _, t := range shards {
		set(b, shardKey(t.number), t.text(end.group))
		if string(format) == firstFormat {
			set(b, coverKey(t.number), binary.LittleEndian.AppendUint64(nil, t.Head))
		}
	}
	if end.file > 0 {
		set(b, markKey, end.append(nil))
	}
	if err := b.DeleteRange([]byte{secondBlocks}, []byte{secondBlocks + 1}, nil); err != nil {
		return err
	}
	set(b, formatKey, []byte(formatVersion))
	return s.applySync(b)
}

// upgradeBlocks puts the blocks into files, and moves shards to their ends.
func (s *store) upgradeBlocks(o Options, shards []*tail) (blockEnd, error) {
	files := newBlockFiles(s.dir, o, s.fuse)
	if err := s.fs.RemoveAll(files.dir); err != nil {
		return blockEnd{}, err
	}
	if err := s.makeBlocksDir(); err != nil {
		return blockEnd{}, err
	}
	files.end.group = 1
	u := upgrader{store: s, files: files, table: &tableWriter{store: s, name: "upgrade"}}
	for range shards {
		u.moved = append(u.moved, new(tail))
	}
	for _, t := range shards {
		if err := u.shard(t); err != nil {
			return blockEnd{}, errors.Join(err, u.table.remove(), files.close())
		}
	}
	var err error
	if files.writer != nil {
		err = files.makeDurable(files.writer)
	}
	if u.table.cut(); err == nil {
		err = u.table.err
	}
	if err == nil && len(u.table.paths) > 0 {
		err = s.ingest(u.table.paths)
	}
	return files.end, errors.Join(err, files.close())
}

type upgrader struct {
	store *store
	files *blockFiles
	table *tableWriter
	moved []*tail // how far the shards are

	group []byte
}

// shard puts the blocks of a shard into files.
func (u *upgrader) shard(t *tail) error {
	lower, upper := blockKey(t.number, 0), blockKey(t.number+1, 0)
	lower[0], upper[0] = secondBlocks, secondBlocks
	it, err := u.store.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return corruptOr(err)
		}
		b, err := parseBlock(blockIDOf(value), value)
		if err != nil {
			return err
		}
		if b.shard != t.number {
			return b.corrupt("stands among those of " + string(t.ID))
		}
		if err := u.add(b); err != nil {
			return err
		}
		if b.last >= t.Head {
			t.Head, t.lastAt = b.last, b.record(b.len()-1).at
		}
	}
	return corruptOr(it.Error())
}

// add puts a block into a group of its own.
func (u *upgrader) add(b *block) error {
	if u.files.full() {
		if err := u.files.makeDurable(u.files.writer); err != nil {
			return err
		}
	}
	at, err := u.files.begin(u.moved)
	if err != nil {
		return err
	}
	u.group = appendItem(append(u.group[:0], make([]byte, groupHeaderSize)...), itemBlock, len(b.data))
	x := extent{at.file, uint32(at.at) + uint32(len(u.group)), uint32(len(b.data))}
	u.group = append(u.group, b.data...)
	h, err := u.files.put(u.group)
	if err != nil {
		return err
	}
	u.moved[b.shard].Head = b.last
	u.table.value = x.append(u.table.value[:0])
	u.table.set(appendBlockKey(u.table.key[:0], b.id()))
	return errors.Join(u.table.err, h.release())
}

// upgradeBytes is how much upgradeIDs writes at a time.
const upgradeBytes = 4 << 20

// upgradeIDs moves UUIDs to keys of their own.
func (s *store) upgradeIDs() error {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{idPrefix}, UpperBound: []byte{idPrefix + 1}})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	b := s.NewBatch()
	defer func() { b.Close() }()
	for it.First(); it.Valid(); it.Next() {
		stream, id, err := parseIDKey(it.Key())
		if err != nil {
			return err
		}
		var uuid [16]byte
		moved := newEventID(id.text, 0, &uuid)
		if !moved.uuid {
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return corruptOr(err)
		}
		set(b, appendIDKey(nil, stream, &moved), value)
		_ = b.Delete(it.Key(), nil) // fails only for indexed batches
		if b.Len() < upgradeBytes {
			continue
		}
		if err := s.apply(b); err != nil {
			return err
		}
		b.Reset()
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read the IDs: %w", corruptOr(err))
	}
	return s.apply(b)
}
