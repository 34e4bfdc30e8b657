package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/leathq/leat"
)

// Layout of a group in a file of blocks.
const (
	groupHeaderSize = 32
	itemHeaderSize  = 8

	itemBlock = 1
	itemShard = 2 // number, and JSON: see storedShard
)

// appendItem begins an item of a group, whose content follows.
func appendItem(dst []byte, kind uint32, size int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(size))
	return binary.LittleEndian.AppendUint32(dst, kind)
}

// sealGroup writes the header of a group, which has room for it.
func sealGroup(b []byte, salt uint32, number, durable uint64) {
	body := b[groupHeaderSize:]
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(body, castagnoli))
	binary.LittleEndian.PutUint64(b[8:], uint64(len(body)))
	binary.LittleEndian.PutUint64(b[16:], number)
	binary.LittleEndian.PutUint64(b[24:], durable)
	binary.LittleEndian.PutUint32(b, crc32.Update(salt, castagnoli, b[4:groupHeaderSize]))
}

// A groupHeader is what the header of a group says.
type groupHeader struct {
	crc     uint32 // of its items
	size    uint64 // of its items
	number  uint64
	durable uint64 // number of a group that was durable when this one was written
}

// parseGroupHeader returns false unless b begins with a header.
func parseGroupHeader(b []byte, salt uint32) (groupHeader, bool) {
	h := groupHeader{
		crc:     binary.LittleEndian.Uint32(b[4:]),
		size:    binary.LittleEndian.Uint64(b[8:]),
		number:  binary.LittleEndian.Uint64(b[16:]),
		durable: binary.LittleEndian.Uint64(b[24:]),
	}
	// What costs least first: findProof looks everywhere.
	if h.number <= h.durable || h.size > math.MaxUint32 {
		return h, false
	}
	return h, binary.LittleEndian.Uint32(b) == crc32.Update(salt, castagnoli, b[4:groupHeaderSize])
}

// A storedGroup is a group as it was read. Its memory is that of the next, too.
type storedGroup struct {
	groupHeader
	file uint32
	at   int64  // of its header
	raw  []byte // all of it
}

func (g *storedGroup) end() int64 { return g.at + int64(len(g.raw)) }

// each calls block and shard for the items of a group.
func (g *storedGroup) each(block func(x extent, data []byte) error, shard func(number uint32, text []byte) error) error {
	for at := groupHeaderSize; at < len(g.raw); {
		if len(g.raw)-at < itemHeaderSize {
			return g.corrupt("ends in the middle of an item")
		}
		size, kind := binary.LittleEndian.Uint32(g.raw[at:]), binary.LittleEndian.Uint32(g.raw[at+4:])
		at += itemHeaderSize
		if uint64(size) > uint64(len(g.raw)-at) {
			return g.corrupt("ends in the middle of an item")
		}
		item := g.raw[at : at+int(size) : at+int(size)]
		var err error
		switch {
		case kind == itemBlock:
			err = block(extent{g.file, uint32(g.at) + uint32(at), size}, item)
		case kind == itemShard && size >= 4:
			err = shard(binary.LittleEndian.Uint32(item), item[4:])
		default:
			err = g.corrupt(fmt.Sprintf("has an item of kind %d and %d bytes", kind, size))
		}
		if err != nil {
			return err
		}
		at += int(size)
	}
	return nil
}

func (g *storedGroup) corrupt(reason string) error {
	return fmt.Errorf("group %d, at %d of the file of blocks %d: %w: %s", g.number, g.at, g.file, leat.ErrCorrupt, reason)
}

// A groupReader reads the groups of a file one after another.
type groupReader struct {
	storedGroup
	salt uint32
	next uint64 // number of the next group
	to   int64  // where the groups end
	r    *bufio.Reader
}

// Why a group cannot be read.
var (
	errTorn    = errors.New("no group, or not all of one")
	errDamaged = fmt.Errorf("%w: its checksum does not match", errTorn)
)

func newGroupReader(f io.ReaderAt, b *blockFile, from blockEnd, to int64) *groupReader {
	return &groupReader{
		storedGroup: storedGroup{file: b.number, at: from.at}, salt: b.salt, next: from.group, to: to,
		r: bufio.NewReaderSize(io.NewSectionReader(f, from.at, max(0, to-from.at)), 1<<20),
	}
}

// read reads the next group. The error is io.EOF at the end, errTorn when there
// is something else, errDamaged, which is an errTorn, when that has at least the
// header and the length of a group.
func (r *groupReader) read() error {
	r.at, r.raw = r.end(), r.raw[:0] // raw is empty after errTorn
	if r.at == r.to {
		return io.EOF
	}
	b, err := r.r.Peek(groupHeaderSize)
	if err != nil {
		return tornOr(err)
	}
	h, ok := parseGroupHeader(b, r.salt)
	if r.groupHeader = h; !ok || h.number != r.next || int64(h.size) > r.to-r.at-groupHeaderSize {
		return errTorn
	}
	if n := groupHeaderSize + int(h.size); n <= cap(r.raw) {
		r.raw = r.raw[:n]
	} else {
		r.raw = make([]byte, n)
	}
	if _, err := io.ReadFull(r.r, r.raw); err != nil {
		r.raw = r.raw[:0]
		return tornOr(err)
	}
	r.next++
	if crc32.Checksum(r.raw[groupHeaderSize:], castagnoli) != h.crc {
		return errDamaged
	}
	return nil
}

func tornOr(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

// each calls do for the groups between two ends.
func (f *blockFiles) each(from, to blockEnd, do func(*storedGroup) error) error {
	files := f.list()
	for i, b := range files {
		if b.number < from.file || b.number > to.file {
			continue
		}
		begin, end := blockEnd{b.number, b.start(), b.first}, to.at
		if b.number == from.file {
			begin = from
		}
		if b.number < to.file {
			end = files[i+1].before
		}
		if err := f.eachOf(b, begin, end, do); err != nil {
			return err
		}
	}
	return nil
}

func (f *blockFiles) eachOf(b *blockFile, from blockEnd, to int64, do func(*storedGroup) error) error {
	h, err := f.use(b.number)
	if err != nil {
		return err
	}
	defer func() { _ = h.release() }()
	r := newGroupReader(h, b, from, to)
	for {
		switch err := r.read(); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			return r.damaged()
		case err != nil:
			return fmt.Errorf("read %s: %w", f.path(b.number), err)
		}
		if err := do(&r.storedGroup); err != nil {
			return err
		}
	}
}

func (r *groupReader) damaged() error {
	return fmt.Errorf("%w: the file of blocks %d is damaged at %d or soon after; check the log, or go back to a backup", leat.ErrCorrupt, r.file, r.at)
}

// A scan tells how the last file ends.
type scan struct {
	end    blockEnd // of the last group that is whole
	proven blockEnd // of the last group that a later one says is durable
	size   int64    // of the file
	empty  bool     // the groups between proven and end hold nothing
}

// scan looks for the end of the groups. They are known to be durable up to an
// end, which may be in an earlier file. The error is leat.ErrCorrupt when a group
// is damaged that was durable.
func (f *blockFiles) scan(known blockEnd) (scan, error) {
	files := f.list()
	if len(files) == 0 {
		if known.group > 1 {
			return scan{}, f.missing(max(1, known.file))
		}
		return scan{end: blockEnd{group: 1}, proven: blockEnd{group: 1}, empty: true}, nil
	}
	b := files[len(files)-1]
	from := blockEnd{b.number, b.start(), b.first}
	switch {
	case known.file > b.number:
		return scan{}, f.missing(known.file)
	case known.file == b.number:
		from = known
	case known.file > 0 && known.file < files[0].number:
		return scan{}, f.missing(known.file)
	}
	h, err := f.use(b.number)
	if err != nil {
		return scan{}, err
	}
	defer func() { _ = h.release() }()
	info, err := h.Stat()
	if err != nil {
		return scan{}, err
	}
	if info.Size() < from.at {
		return scan{}, fmt.Errorf("%w: the file of blocks %s has %d bytes and must have %d: its last events are lost, so go back to a backup",
			leat.ErrCorrupt, f.path(b.number), info.Size(), from.at)
	}
	return f.scanFile(h, b, from, info.Size())
}

// whole returns a scan of files of which the last is damaged: to its very end.
func (f *blockFiles) whole() (scan, error) {
	files := f.list()
	if len(files) == 0 {
		return scan{}, f.missing(1)
	}
	b := files[len(files)-1]
	info, err := f.fs.Stat(f.path(b.number))
	if err != nil {
		return scan{}, err
	}
	return scan{end: blockEnd{file: b.number, at: info.Size()}}, nil
}

func (f *blockFiles) scanFile(h *handle, b *blockFile, from blockEnd, size int64) (scan, error) {
	s := scan{end: from, proven: from, size: size, empty: true}
	var unproven []blockEnd // where those groups end
	filled := uint64(0)     // number of the last that holds something
	r := newGroupReader(h, b, from, size)
	for {
		err := r.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errTorn) {
			if err := f.findProof(h, r, s.end.group); err != nil {
				return scan{}, err
			}
			break
		}
		if err != nil {
			return scan{}, fmt.Errorf("read %s: %w", f.path(b.number), err)
		}
		s.end = blockEnd{b.number, r.end(), r.number + 1}
		if r.size > 0 {
			filled = r.number
		}
		unproven = append(unproven, s.end)
		for len(unproven) > 0 && unproven[0].group <= r.durable+1 {
			s.proven, unproven = unproven[0], unproven[1:]
		}
	}
	s.empty = filled < s.proven.group
	return s, nil
}

// findProof returns an error when a group behind one that is torn says that it
// was durable.
func (f *blockFiles) findProof(h io.ReaderAt, r *groupReader, torn uint64) error {
	const window = 1 << 20
	buf := make([]byte, window)
	for at := r.at; at < r.to; at += window - groupHeaderSize + 1 {
		n, err := h.ReadAt(buf[:min(window, r.to-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := 0; i+groupHeaderSize <= n; i++ {
			if g, ok := parseGroupHeader(buf[i:], r.salt); ok && g.durable >= torn {
				return r.damaged()
			}
		}
	}
	return nil
}
