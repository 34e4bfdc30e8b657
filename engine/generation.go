package engine

import (
	"fmt"
	"hash/maphash"
	"sort"
	"sync/atomic"
)

// A generation is the index of what was recorded lately, in memory: the versions
// of streams, their runs, and event IDs. The committer adds to it while anybody
// reads it. Once it is full and durable it is sorted into files; see indexer.
type generation struct {
	streams column[streamEntry]
	ids     column[idEntry]
	runs    column[runEntry]
	names   arena                        // of streams and IDs
	blocks  atomic.Pointer[[]*blockList] // by shard

	byStream, byID table

	greatest [16]byte // UUID; known to the writer only
}

type streamEntry struct {
	name    uint32 // in names
	size    uint16
	version atomic.Uint64 // the last recorded, durable or not
	lastRun atomic.Uint32 // index plus one of the latest run, 0 when there is none
}

type idEntry struct {
	known
	stream uint32
	id     uint32 // in names: the text, or the 16 bytes of a UUID
	size   uint16
	uuid   bool
}

type runEntry struct {
	run
	before uint32 // index plus one of the run before it, 0 when there is none
}

// known is what is remembered of an event for good, to recognise its ID.
type known struct {
	shard        uint32
	seq, version uint64
	at, time     int64
	digest       [16]byte
}

// A run is a longest sequence of neighbouring events of one stream in a block.
type run struct {
	version uint64 // of its last event
	shard   uint32
	seq     uint64 // of its last event
	n       uint64
	block   uint64 // last sequence of the block it is in, 0 when it is not known
}

func (r run) firstVersion() uint64 { return r.version - r.n + 1 }
func (r run) firstSeq() uint64     { return r.seq - r.n + 1 }

// An eventID is an event's ID as the index knows it.
type eventID struct {
	text string // 16 bytes when it is a UUID
	uuid bool   // a UUIDv7 in its canonical form
	hash uint32 // of the ID and its stream
}

var hashSeed = maphash.MakeSeed()

func hashStream(stream string) uint32 { return uint32(maphash.String(hashSeed, stream)) }

// newEventID returns the index's form of an ID. The memory of a UUID's bytes is
// the caller's.
func newEventID(id string, stream uint32, uuid *[16]byte) eventID {
	e := eventID{text: id}
	if parseUUIDv7(id, uuid) {
		e.text, e.uuid = text(uuid[:]), true
	}
	e.hash = hashID(e.text, stream)
	return e
}

// hashID mixes in the stream: many streams may use the same IDs.
func hashID(id string, stream uint32) uint32 {
	return uint32(maphash.String(hashSeed, id)) ^ stream*0x9e3779b1
}

// String returns the ID as it was given.
func (id *eventID) String() string {
	if !id.uuid {
		return id.text
	}
	b := id.text
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// parseUUIDv7 parses the canonical text of a UUIDv7 (RFC 9562).
func parseUUIDv7(s string, dst *[16]byte) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s[14] != '7' {
		return false
	}
	bad := byte(0)
	for i, at := range [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		hi, lo := hexDigit[s[at]], hexDigit[s[at+1]]
		bad |= hi | lo
		dst[i] = hi<<4 | lo
	}
	return bad < 16 && dst[8]>>6 == 0b10
}

// hexDigit is the value of each lower-case hexadecimal digit, 0xff of others.
var hexDigit = func() (digits [256]byte) {
	for i := range digits {
		digits[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		digits[c] = byte(i)
	}
	return digits
}()

// find returns the index of a stream.
func (g *generation) find(hash uint32, stream string) (uint32, bool) {
	return g.byStream.find(hash, func(i uint32) bool { return g.name(i) == stream })
}

func (g *generation) name(stream uint32) string {
	s := g.streams.at(stream)
	return g.names.at(s.name, s.size)
}

func (g *generation) version(stream uint32) uint64 { return g.streams.at(stream).version.Load() }

// add adds a stream that find does not find.
func (g *generation) add(hash uint32, stream string, version uint64) uint32 {
	i, s := g.streams.add()
	s.name, s.size = g.names.add(stream), uint16(len(stream))
	s.version.Store(version)
	g.byStream.add(hash, i)
	return i
}

// findID returns what is known of an ID of a stream.
func (g *generation) findID(stream uint32, id *eventID) (known, bool) {
	i, ok := g.byID.find(id.hash, func(i uint32) bool {
		e := g.ids.at(i)
		return e.stream == stream && e.uuid == id.uuid && g.idText(e) == id.text
	})
	if !ok {
		return known{}, false
	}
	return g.ids.at(i).known, true
}

// idText returns the text of an ID, 16 bytes when it is a UUID.
func (g *generation) idText(e *idEntry) string { return g.names.at(e.id, e.size) }

// note adds an event to a stream.
func (g *generation) note(stream uint32, e *entry, version uint64) {
	e.version, e.slot = version, stream
	g.streams.at(stream).version.Store(version)
	g.addID(stream, &e.eventID, &e.known)
}

func (g *generation) addID(stream uint32, id *eventID, k *known) {
	i, e := g.ids.add()
	e.known, e.stream, e.uuid = *k, stream, id.uuid
	e.id, e.size = g.names.add(id.text), uint16(len(id.text))
	if id.uuid && id.text > text(g.greatest[:]) {
		copy(g.greatest[:], id.text)
	}
	g.byID.add(id.hash, i)
}

func (g *generation) addRun(stream uint32, r run) {
	s := g.streams.at(stream)
	i, e := g.runs.add()
	e.run, e.before = r, s.lastRun.Load()
	s.lastRun.Store(i + 1)
}

// A blockList says where the blocks of one shard are, in order.
type blockList struct {
	entries column[blockEntry]
	n       atomic.Uint32
}

type blockEntry struct {
	last uint64 // sequence
	extent
}

// addBlock notes where a block is.
func (g *generation) addBlock(id blockID, x extent) {
	list := g.blockList(id.shard)
	if list == nil {
		list = g.addList(id.shard)
	}
	i, e := list.entries.add()
	*e = blockEntry{id.last, x}
	list.n.Store(i + 1)
}

func (g *generation) addList(shard uint32) *blockList {
	var lists []*blockList
	if old := g.blocks.Load(); old != nil {
		lists = *old
	}
	lists = append(lists[:len(lists):len(lists)], make([]*blockList, max(0, int(shard)+1-len(lists)))...)
	lists[shard] = new(blockList)
	g.blocks.Store(&lists)
	return lists[shard]
}

// blockList returns the blocks of a shard, nil when there are none.
func (g *generation) blockList(shard uint32) *blockList {
	lists := g.blocks.Load()
	if lists == nil || int(shard) >= len(*lists) {
		return nil
	}
	return (*lists)[shard]
}

// find returns the first block that ends at a sequence or above.
func (l *blockList) find(seq uint64) (*blockEntry, bool) {
	n := int(l.n.Load())
	i := sort.Search(n, func(i int) bool { return l.entries.at(uint32(i)).last >= seq })
	if i == n {
		return nil, false
	}
	return l.entries.at(uint32(i)), true
}

// eachRun calls do for the runs of a stream, latest first, until it returns
// false.
func (g *generation) eachRun(stream uint32, do func(run) bool) {
	for i := g.streams.at(stream).lastRun.Load(); i > 0; {
		r := g.runs.at(i - 1)
		if !do(r.run) {
			return
		}
		i = r.before
	}
}

// events returns how many events the generation indexes. Only its writer may
// ask while it grows.
func (g *generation) events() int { return int(g.ids.n) }

// full reports whether a generation of a size in events takes no more. Only its
// writer may ask.
func (g *generation) full(events int) bool {
	return g.events() >= events || g.names.size() >= max(arenaChunk+1, events*nameBytes)
}

// nameBytes is what an event's names may take on average before they, and not
// the number of events, bound a generation.
const nameBytes = 128
