package engine

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/leathq/leat"
)

// FuzzGroup gives a group any items, with good checksums, as no disk does but
// somebody might: they are read or refused, and what comes after is not touched.
func FuzzGroup(f *testing.F) {
	_, block, _ := blockOf(f, blockEvents)
	whole := append(appendItem(nil, itemBlock, len(block)), block...)
	f.Add(whole)
	f.Add(append(appendItem(whole, itemShard, 4+2), "\x00\x00\x00\x00{}"...))
	f.Add(appendItem(nil, itemShard, 3))
	f.Add(appendItem(nil, itemBlock, 1<<31))
	f.Fuzz(func(t *testing.T, items []byte) {
		const salt, number = 7, 12
		group := append(make([]byte, groupHeaderSize), items...)
		sealGroup(group, salt, number, number-1)
		stored := append(bytes.Clone(group), "what another group left behind, and long enough for a header"...)
		r := newGroupReader(bytes.NewReader(stored), &blockFile{number: 1, salt: salt}, blockEnd{1, 0, number}, int64(len(stored)))
		if err := r.read(); err != nil || r.number != number || r.end() != int64(len(group)) {
			t.Fatalf("read a group of %d bytes: got group %d up to %d, %v", len(group), r.number, r.end(), err)
		}
		seen := 0
		err := r.each(func(x extent, data []byte) error {
			if !bytes.Equal(stored[x.at:x.at+x.size], data) {
				t.Errorf("a block of %d bytes is said to be at %d", len(data), x.at)
			}
			seen += itemHeaderSize + len(data)
			_, err := parseBlock(blockIDOf(data), data)
			return err
		}, func(number uint32, text []byte) error {
			seen += itemHeaderSize + 4 + len(text)
			_, err := describe(nil, number, text)
			return err
		})
		switch {
		case err != nil && !errors.Is(err, leat.ErrCorrupt):
			t.Errorf("got %v, want ErrCorrupt", err)
		case err == nil && seen != len(items):
			t.Errorf("got items of %d bytes, want %d", seen, len(items))
		}
		if err := r.read(); !errors.Is(err, errTorn) || errors.Is(err, io.EOF) {
			t.Errorf("read what is behind it: got %v, want errTorn", err)
		}
	})
}

// FuzzHead reads any bytes as the head of a stream: what is accepted is the same
// when it is written and read again.
func FuzzHead(f *testing.F) {
	h := head{9, []run{{version: 4, shard: 1, seq: 40, n: 2, block: 44}, {version: 9, seq: 60, n: 5, block: 60}}}
	f.Add(h.append(nil))
	f.Add([]byte{9})
	f.Add([]byte{9, 0, 60, 10, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := parseHead(value)
		if err != nil {
			if !errors.Is(err, leat.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		version := got.version
		for i := len(got.runs) - 1; i >= 0; i-- {
			if got.runs[i].version != version || got.runs[i].n > version {
				t.Fatalf("run %d ends with version %d, want %d: %+v", i, got.runs[i].version, version, got)
			}
			version -= got.runs[i].n
		}
		if len(got.runs) == 1 && got.runs[0].block == 0 {
			return // written as in version 1 of the format
		}
		if again, err := parseHead(got.append(nil)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("written again it reads as %+v, %v, want %+v", again, err, got)
		}
	})
}
