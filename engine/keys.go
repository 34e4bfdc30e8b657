package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/leathq/leat"
)

// Keys of the store. docs/format-block.md describes them.
const (
	shardPrefix  = 'd'
	sweptPrefix  = 'w'
	blockPrefix  = 'e'
	secondBlocks = 'b' // of version 2 of the format: see upgrade
	runPrefix    = 's'
	coverPrefix  = 'g' // beside the heads, to stand in a file with them
	headPrefix   = 'h'
	idPrefix     = 'i'
	uuidPrefix   = 'u'
	runSeparator = 0xff // occurs in no UTF-8

	formatVersion = "3"
	firstFormat   = "1" // see upgrade
	secondFormat  = "2"
)

var (
	formatKey = []byte("mformat")
	infoKey   = []byte("minfo")
	markKey   = []byte{coverPrefix}
)

func shardKey(shard uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{shardPrefix}, shard)
}

func sweptKey(shard uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{sweptPrefix}, shard)
}

const blockKeySize = 1 + 4 + 8

func appendBlockKey(dst []byte, id blockID) []byte {
	dst = append(dst, blockPrefix)
	dst = binary.BigEndian.AppendUint32(dst, id.shard)
	return binary.BigEndian.AppendUint64(dst, id.last)
}

func blockKey(shard uint32, last uint64) []byte {
	return appendBlockKey(make([]byte, 0, blockKeySize), blockID{shard, last})
}

// parseBlockKey is the inverse of blockKey.
func parseBlockKey(key []byte) (blockID, error) {
	if len(key) != blockKeySize || key[0] != blockPrefix {
		return blockID{}, fmt.Errorf("%w: key %x is not a block's", leat.ErrCorrupt, key)
	}
	return blockID{binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint64(key[5:])}, nil
}

// appendRunKey appends the key of the run of a stream that ends with a version.
func appendRunKey(dst []byte, stream string, last uint64) []byte {
	dst = appendRunPrefix(dst, stream)
	return binary.BigEndian.AppendUint64(dst, last)
}

// appendRunPrefix appends what all run keys of a stream begin with.
func appendRunPrefix(dst []byte, stream string) []byte {
	dst = append(dst, runPrefix)
	dst = append(dst, stream...)
	return append(dst, runSeparator)
}

// runBounds returns the bounds of all run keys of a stream.
func runBounds(stream string) (lower, upper []byte) {
	lower = appendRunPrefix(make([]byte, 0, len(stream)+2), stream)
	upper = appendRunKey(make([]byte, 0, len(stream)+11), stream, 1<<64-1)
	return lower, append(upper, 0)
}

// parseRunKey is the inverse of appendRunKey.
func parseRunKey(key []byte) (stream []byte, last uint64, err error) {
	end := len(key) - 8
	if end < 3 || key[0] != runPrefix || key[end-1] != runSeparator {
		return nil, 0, fmt.Errorf("key %x is not a run's", key)
	}
	return key[1 : end-1], binary.BigEndian.Uint64(key[end:]), nil
}

func appendHeadKey(dst []byte, stream string) []byte {
	return append(append(dst, headPrefix), stream...)
}

// appendIDKey appends the key of an event's ID. The ID comes first: those made
// one after the other are often neighbours, whatever their streams.
func appendIDKey(dst []byte, stream string, id *eventID) []byte {
	if id.uuid {
		dst = append(dst, uuidPrefix)
		dst = append(dst, id.text...)
		return append(dst, stream...)
	}
	dst = append(dst, idPrefix)
	dst = append(dst, id.text...)
	dst = append(dst, stream...)
	return append(dst, byte(len(id.text)-1))
}

// parseIDKey is the inverse of appendIDKey. What it returns is in the key's
// memory.
func parseIDKey(key []byte) (stream string, id eventID, err error) {
	switch {
	case len(key) > 17 && key[0] == uuidPrefix:
		return text(key[17:]), eventID{text: text(key[1:17]), uuid: true}, nil
	case len(key) > 3 && key[0] == idPrefix:
		rest := key[1 : len(key)-1]
		if n := int(key[len(key)-1]) + 1; n < len(rest) {
			return text(rest[n:]), eventID{text: text(rest[:n])}, nil
		}
	}
	return "", eventID{}, fmt.Errorf("%w: key %x is not an ID's", leat.ErrCorrupt, key)
}

func coverKey(shard uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{coverPrefix}, shard)
}
