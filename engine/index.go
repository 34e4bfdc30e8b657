package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// An index finds what blocks hold: the version of a stream, the event of an ID,
// the runs of a stream. It is derived from the blocks: generations in memory
// index the latest ones, the store indexes all before.
//
// The committer records; anybody looks up.
type index struct {
	db     pebble.Reader
	size   int         // events of a generation
	names  *nameFilter // of all streams
	memory atomic.Pointer[memory]
	mu     sync.Mutex // held by who replaces memory
}

// A memory is what is not to be looked up in the store. It never changes, though
// its last generation grows.
type memory struct {
	generations []layer // oldest first; the last takes what is recorded

	// dropped counts, from 1, the generations that went to the store. Who found
	// that something is not in the store, and later finds dropped unchanged,
	// knows that it is in memory or nowhere.
	dropped uint64

	// covered is, by shard, the sequence up to which the store has the index, and
	// mark is where the groups go on from there.
	covered []uint64
	mark    blockEnd

	// recent has the greatest UUIDs of those that went to the store: all above
	// the floor. So a UUID above the floor is in memory or new.
	recent layer
	floor  [16]byte
}

// A layer is a generation and what bounds its UUIDs: those above the greatest
// are not in it.
type layer struct {
	*generation
	greatest [16]byte
}

// unbounded is for a generation that grows.
func unbounded(g *generation) layer {
	l := layer{generation: g}
	for i := range l.greatest {
		l.greatest[i] = 0xff
	}
	return l
}

// recentIDs is how many UUIDs stay in memory when their generation leaves it.
// Clocks that are ahead make the floor rise early, and then new IDs are looked
// up in the store, unless the IDs they made are fewer than these.
const recentIDs = 16 << 10

func newIndex(db pebble.Reader, size int, filterBytes int64) *index {
	x := &index{db: db, size: size, names: newNameFilter(filterBytes)}
	x.memory.Store(&memory{generations: []layer{unbounded(new(generation))}, dropped: 1, recent: layer{generation: new(generation)}})
	return x
}

// growing returns the generation that takes what is recorded.
func (m *memory) growing() *generation { return m.generations[len(m.generations)-1].generation }

// isNew reports whether an ID that is not in memory is not in the store either.
func (m *memory) isNew(id *eventID) bool { return id.uuid && id.text > text(m.floor[:]) }

// A target is a stream that an operation writes to or names.
type target struct {
	stream string
	hash   uint32

	dropped uint64 // memory.dropped when the store was asked, 0 when it was not
	stored  uint64 // the version that the store knows

	// Known to the committer while it applies the operation.
	resolved bool
	version  uint64
	slot     uint32 // index plus one in the growing generation, 0 when not known
}

func newTarget(stream string) target { return target{stream: stream, hash: hashStream(stream)} }

// ask looks up in the store what memory cannot tell of a target, and of events
// that go there. The caller of Append does that, so that the committer need not
// wait for the disk.
func (x *index) ask(t *target, events []entry) error {
	m := x.memory.Load()
	t.dropped = m.dropped
	if !x.names.mayHave(t.hash) {
		return nil
	}
	if !m.has(t) {
		v, err := x.storedVersion(t)
		if err != nil || v == 0 {
			return err
		}
		t.stored = v
	}
	var late []*entry // that the store has to be asked about
	for i := range events {
		e := &events[i]
		if m.isNew(&e.eventID) {
			continue
		}
		if _, ok := m.find(t, &e.eventID); !ok {
			late = append(late, e)
		}
	}
	if len(late) >= manyIDs {
		return x.askMany(t.stream, late)
	}
	for _, e := range late {
		k, ok, err := x.storedID(t.stream, &e.eventID)
		if err != nil {
			return err
		}
		e.before, e.stored = k, ok
	}
	return nil
}

// manyIDs is how many look-ups pay for an iterator. It asks the filter of each
// file without opening the file again.
const manyIDs = 8

func (x *index) askMany(stream string, events []*entry) error {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: []byte{idPrefix}, UpperBound: []byte{uuidPrefix + 1}})
	if err != nil {
		return corruptOr(err)
	}
	defer it.Close()
	var key []byte
	for _, e := range events {
		key = appendIDKey(key[:0], stream, &e.eventID)
		e.stored = it.SeekPrefixGE(key) // a prefix is a whole key here
		value, err := []byte(nil), it.Error()
		if e.stored {
			value, err = it.ValueAndErr()
		}
		if e.stored && err == nil {
			e.before, err = parseKnown(value)
		}
		if err != nil {
			return fmt.Errorf("event ID %q of stream %q: %w", &e.eventID, stream, corruptOr(err))
		}
	}
	return nil
}

func (m *memory) has(t *target) bool {
	for _, g := range m.generations {
		if _, ok := g.find(t.hash, t.stream); ok {
			return true
		}
	}
	return false
}

// find returns what memory knows of an ID of a target.
func (m *memory) find(t *target, id *eventID) (known, bool) {
	for i := len(m.generations) - 1; i >= 0; i-- {
		if k, ok := m.generations[i].lookUp(t, id); ok {
			return k, true
		}
	}
	return m.recent.lookUp(t, id)
}

func (l *layer) lookUp(t *target, id *eventID) (known, bool) {
	if id.uuid && id.text > text(l.greatest[:]) {
		return known{}, false
	}
	if stream, ok := l.find(t.hash, t.stream); ok {
		return l.findID(stream, id)
	}
	return known{}, false
}

// resolve finds the version of a target. The committer calls it, and all that
// follows.
func (x *index) resolve(t *target) error {
	if t.resolved {
		return nil
	}
	if !x.names.mayHave(t.hash) {
		t.resolved = true
		return nil
	}
	m := x.memory.Load()
	for i, g := range slices.Backward(m.generations) {
		stream, ok := g.find(t.hash, t.stream)
		if !ok {
			continue
		}
		t.resolved, t.version = true, g.version(stream)
		if i == len(m.generations)-1 {
			t.slot = stream + 1
		}
		return nil
	}
	t.version = t.stored
	if t.dropped != m.dropped {
		v, err := x.storedVersion(t)
		if err != nil {
			return err
		}
		t.version = v
	}
	t.resolved = true
	return nil
}

// lookUp returns what is known of the ID of an event that goes to a target.
func (x *index) lookUp(t *target, e *entry) (known, bool, error) {
	m := x.memory.Load()
	if k, ok := m.find(t, &e.eventID); ok {
		return k, true, nil
	}
	if t.dropped == m.dropped {
		return e.before, e.stored, nil
	}
	if m.isNew(&e.eventID) {
		return known{}, false, nil
	}
	return x.storedID(t.stream, &e.eventID)
}

// record gives an event the next version of its target, which is resolved.
func (x *index) record(t *target, e *entry) {
	g := x.enter(t)
	g.note(t.slot-1, e, g.version(t.slot-1)+1)
}

// note notes an event that has a version.
func (x *index) note(t *target, e *entry, version uint64) { x.enter(t).note(t.slot-1, e, version) }

// enter puts a target into the growing generation. Another target of the same
// stream may have done so.
func (x *index) enter(t *target) *generation {
	g := x.memory.Load().growing()
	if t.slot == 0 {
		stream, ok := g.find(t.hash, t.stream)
		if !ok {
			stream = g.add(t.hash, t.stream, t.version)
			x.names.add(t.hash)
		}
		t.slot = stream + 1
	}
	return g
}

// addBlock notes a block and its runs.
func (x *index) addBlock(events []*entry, at extent) {
	g := x.memory.Load().growing()
	block := events[len(events)-1].seq
	g.addBlock(blockID{events[0].shard, block}, at)
	for start := 0; start < len(events); {
		end := start + 1
		for end < len(events) && events[end].slot == events[start].slot {
			end++
		}
		last := events[end-1]
		g.addRun(last.slot, run{version: last.version, shard: last.shard, seq: last.seq, n: uint64(end - start), block: block})
		start = end
	}
}

// seal begins a new generation and returns the one that grew until now.
func (x *index) seal() *generation {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := *x.memory.Load()
	full := m.growing()
	m.generations = slices.Clone(m.generations)
	m.generations[len(m.generations)-1] = layer{full, full.greatest}
	m.generations = append(m.generations, unbounded(new(generation)))
	x.memory.Store(&m)
	return full
}

// drop forgets the oldest generation, which the store has now. Its greatest
// UUIDs, up to recentIDs+1, are those of the entries newest.
func (x *index) drop(covered []uint64, mark blockEnd, newest []uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := *x.memory.Load()
	m.remember(m.generations[0].generation, newest)
	m.generations = m.generations[1:]
	m.dropped++
	m.covered, m.mark = slices.Clone(covered), mark
	x.memory.Store(&m)
}

// remember makes recent and floor what they are once g is in the store alone.
func (m *memory) remember(g *generation, newest []uint32) {
	type ref struct {
		g *generation
		e *idEntry
	}
	all := make([]ref, 0, len(newest)+m.recent.events())
	for _, i := range newest {
		all = append(all, ref{g, g.ids.at(i)})
	}
	for i := range m.recent.ids.n {
		all = append(all, ref{m.recent.generation, m.recent.ids.at(i)})
	}
	id := func(r ref) string { return r.g.idText(r.e) }
	slices.SortFunc(all, func(a, b ref) int { return strings.Compare(id(b), id(a)) })
	if len(all) > recentIDs {
		// It never sinks: what was forgotten before may lie above these.
		if greatest := id(all[recentIDs]); greatest > text(m.floor[:]) {
			copy(m.floor[:], greatest)
		}
		all = all[:recentIDs]
	}
	recent := new(generation)
	for _, r := range all {
		recent.keep(r.g.name(r.e.stream), id(r), &r.e.known)
	}
	m.recent = layer{recent, recent.greatest}
}

// keep adds a UUID of a stream.
func (g *generation) keep(name, uuid string, k *known) {
	hash := hashStream(name)
	stream, ok := g.find(hash, name)
	if !ok {
		stream = g.add(hash, name, 0)
	}
	g.addID(stream, &eventID{text: uuid, uuid: true, hash: hashID(uuid, hash)}, k)
}

// storedVersion returns the version of a stream that the store knows.
func (x *index) storedVersion(t *target) (uint64, error) {
	buf := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buf)
	*buf = appendHeadKey((*buf)[:0], t.stream)
	v, err := readHead(x.db, *buf)
	if err != nil {
		return 0, fmt.Errorf("version of stream %q: %w", t.stream, corruptOr(err))
	}
	return v, nil
}

// storedHead returns the head of a stream in the store, which has the version 0
// when there is none.
func (x *index) storedHead(stream string) (head, error) {
	buf := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buf)
	*buf = appendHeadKey((*buf)[:0], stream)
	value, closer, err := x.db.Get(*buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("head of stream %q: %w", stream, corruptOr(err))
	}
	defer closer.Close()
	h, err := parseHead(value)
	if err != nil {
		err = fmt.Errorf("head of stream %q: %w", stream, err)
	}
	return h, err
}

// storedID returns what the store knows of an ID.
func (x *index) storedID(stream string, id *eventID) (known, bool, error) {
	buf := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buf)
	*buf = appendIDKey((*buf)[:0], stream, id)
	k, err := readKnown(x.db, *buf)
	if errors.Is(err, pebble.ErrNotFound) {
		return known{}, false, nil
	}
	if err != nil {
		return known{}, false, fmt.Errorf("event ID %q of stream %q: %w", id, stream, corruptOr(err))
	}
	return k, true, nil
}

// keyBuffers keep look-ups, of which there are several an Append, from
// allocating.
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}
