package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// upgrade brings a store of version 1 of the format to this one. There the index
// was written with the blocks, so that it covers all of them, and UUIDs were
// kept as text. It may be interrupted anywhere and goes on from there.
func (s *store) upgrade() error {
	format, err := s.value(formatKey)
	if errors.Is(err, pebble.ErrNotFound) || err == nil && string(format) != firstFormat {
		return nil
	}
	if err != nil {
		return corruptOr(err)
	}
	if err := s.upgradeIDs(); err != nil {
		return err
	}
	shards, err := s.readShards()
	if err != nil {
		return err
	}
	b := s.NewBatch()
	defer b.Close()
	for _, t := range shards {
		if err := s.findEnd(t); err != nil {
			return err
		}
		set(b, coverKey(t.number), binary.LittleEndian.AppendUint64(nil, t.Head))
	}
	set(b, formatKey, []byte(formatVersion))
	return s.applySync(b)
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
		if err := s.Apply(b, pebble.NoSync); err != nil {
			return err
		}
		b.Reset()
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read the IDs: %w", corruptOr(err))
	}
	return s.Apply(b, pebble.NoSync)
}
