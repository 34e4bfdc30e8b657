package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// DefaultSnapshotEvery is how many events of a stream lie between two snapshots
// when Snapshots.Every is 0.
const DefaultSnapshotEvery = 100

// Snapshots says where and when an Aggregate keeps snapshots: states of streams,
// so that whoever needs one reads only what came after it. They are a cache, and
// the log stays the truth. A snapshot is used only if the event after which it
// was made still stands in the log at its place. So snapshots may be lost,
// stale, damaged or mixed up, be of another log, or come from before a restore,
// and may be deleted at any time: what is loaded is always what the stream says.
//
// They are made in the background, one at a time, from commands and loads: call
// Aggregate.Flush before the store or the log is closed. A snapshot that cannot be written is told to slog.Default and not missed.
//
// A stream whose beginning is kept nowhere any more can be loaded while there is
// a snapshot of it. Do not rely on that: keep an archive.
type Snapshots struct {
	// Store keeps them; without it there are none. The state is kept as JSON, so
	// its type must say all it is about in JSON: a field that would be left out
	// is refused when the Aggregate is first used.
	Store SnapshotStore

	// Reducer names what a state is and how Evolve makes it, such as "1". Change
	// it whenever Evolve would make another state of the same events: snapshots
	// under other names are not used. (A state whose fields changed is another
	// one even if this was forgotten.)
	Reducer string

	// Every is how many events of a stream lie between two snapshots of it;
	// DefaultSnapshotEvery when 0.
	Every int
}

// A SnapshotStore keeps one snapshot for each stream and reducer, as bytes that
// it does not look into. It is safe for concurrent use, also by several
// processes. The read models of package sqlite and others are SnapshotStores.
type SnapshotStore interface {
	// Snapshot returns what was put last, or nothing when there is none.
	Snapshot(ctx context.Context, stream, reducer string) ([]byte, error)

	// PutSnapshot keeps data in place of what was kept.
	PutSnapshot(ctx context.Context, stream, reducer string, data []byte) error
}

// Times that a store may take. A cache that is slower than the log is no help.
const (
	snapshotLoad  = 2 * time.Second
	snapshotWrite = 10 * time.Second
)

// A mark names the event of a version, so that another at its place is noticed.
type mark struct {
	id string
	at time.Time
}

// snapshots makes and loads the snapshots of an Aggregate. The methods of nil do
// nothing.
type snapshots[S any] struct {
	Snapshots
	shape   string        // of S
	writing chan struct{} // holds a token while one is written
	infos   sync.Map      // leat.Log to leat.Info, as it was when the log was first used
}

// A snapshot is what is kept, in JSON, behind its digest. Log to Shape say what
// it is a snapshot of, so that one which got to a wrong place is noticed.
type snapshot[S any] struct {
	Log     string    `json:"log"`
	Epoch   uint64    `json:"epoch"`
	Stream  string    `json:"stream"`
	Reducer string    `json:"reducer"`
	Shape   string    `json:"shape"`
	Version uint64    `json:"version"`
	ID      string    `json:"id"` // of the event of that version
	At      time.Time `json:"at"` // of that event
	State   S         `json:"state"`
}

// snapshotMagic is what a snapshot begins with. Then come the SHA-256 of the
// JSON, and the JSON.
const snapshotMagic = "leat snapshot 1\n"

// newSnapshots returns nil when there is no store.
func newSnapshots[S any](s Snapshots, category string) (*snapshots[S], error) {
	if s.Store == nil {
		return nil, nil
	}
	if s.Reducer == "" {
		return nil, &leat.InvalidError{Field: "Aggregate.Snapshots.Reducer of " + category, Limit: "set, such as \"1\""}
	}
	if s.Every < 0 {
		return nil, &leat.InvalidError{Field: "Aggregate.Snapshots.Every of " + category, Limit: "not negative", Got: fmt.Sprint(s.Every)}
	}
	shape, err := shapeOf[S]()
	if err != nil {
		return nil, fmt.Errorf("aggregate of %s cannot keep snapshots of its state: %w", category, err)
	}
	s.Every = cmp.Or(s.Every, DefaultSnapshotEvery)
	return &snapshots[S]{Snapshots: s, shape: shape, writing: make(chan struct{}, 1)}, nil
}

// info returns what identifies a log.
func (s *snapshots[S]) info(ctx context.Context, log leat.Log) (leat.Info, error) {
	if known, ok := s.infos.Load(log); ok {
		return known.(leat.Info), nil
	}
	info, err := log.Info(ctx)
	if err == nil {
		s.infos.Store(log, info)
	}
	return info, err
}

// forget asks anew what identifies a log.
func (s *snapshots[S]) forget(log leat.Log) {
	if s != nil {
		s.infos.Delete(log)
	}
}

// load returns a snapshot of a stream that does not lie beyond u, nil when there
// is none that can be used. Whether it is of this history the log has to say.
func (s *snapshots[S]) load(ctx context.Context, of cacheKey, u until) *snapshot[S] {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotLoad)
	defer cancel()
	info, err := s.info(ctx, of.log)
	if err != nil {
		return nil // whoever reads the stream will tell
	}
	var data []byte
	err = guarded(func() (err error) {
		data, err = s.Store.Snapshot(ctx, of.stream, s.Reducer)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "snapshot was not read; the whole stream is", "stream", of.stream, "error", err)
		}
		return nil
	}
	snap := decodeSnapshot[S](data)
	if snap == nil || snap.Version == 0 || snap.Stream != of.stream || snap.Reducer != s.Reducer || snap.Shape != s.shape ||
		snap.Log != info.ID || snap.Epoch != info.Epoch || u.passed(snap.Version, snap.At) {
		return nil
	}
	return snap
}

func decodeSnapshot[S any](data []byte) *snapshot[S] {
	rest, ok := bytes.CutPrefix(data, []byte(snapshotMagic))
	if !ok || len(rest) < sha256.Size {
		return nil
	}
	sum, text := rest[:sha256.Size], rest[sha256.Size:]
	if actual := sha256.Sum256(text); !bytes.Equal(sum, actual[:]) {
		return nil
	}
	snap := new(snapshot[S])
	if err := guarded(func() error { return json.Unmarshal(text, snap) }); err != nil {
		return nil
	}
	return snap
}

func (snap *snapshot[S]) encode() ([]byte, error) {
	text, err := json.Marshal(snap)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return append(append([]byte(snapshotMagic), sum[:]...), text...), nil
}

// resume brings e to where u says, from a snapshot on. It reports false, and
// leaves e as it was, when the log does not have the event after which the
// snapshot was made.
func (a *Aggregate[S, E]) resume(ctx context.Context, e *entry[S], snap *snapshot[S], u until) (used bool, err error) {
	for r, err := range e.log.ReadStream(ctx, e.stream, leat.Range{After: snap.Version - 1, Through: u.version}) {
		switch {
		case errors.Is(err, leat.ErrTrimmed):
			return false, nil // the whole stream cannot be read, either, and says so
		case err != nil:
			return used, fmt.Errorf("load %s: %w", e.stream, err)
		case !used:
			if r.Version != snap.Version || r.ID != snap.ID || !r.At.Equal(snap.At) {
				return false, nil
			}
			e.state, e.version, e.last, e.kept = snap.State, snap.Version, mark{snap.ID, snap.At}, snap.Version
			used = true
		case u.passed(r.Version, r.At):
			return true, nil
		default:
			if err := a.fold(e, r); err != nil {
				return true, err
			}
		}
	}
	return used, nil
}

// keep makes a snapshot of e in the background when it is time. If another is
// being written, the next event of the stream will be in time.
func (a *Aggregate[S, E]) keep(ctx context.Context, e *entry[S]) {
	s := a.snapshots
	if s == nil || e.version < e.kept+uint64(s.Every) && e.version >= e.kept {
		return
	}
	select {
	case s.writing <- struct{}{}:
	default:
		return
	}
	e.kept = e.version
	snap := &snapshot[S]{
		Stream: e.stream, Reducer: s.Reducer, Shape: s.shape,
		Version: e.version, ID: e.last.id, At: e.last.at, State: a.shared(e.state),
	}
	log := e.log
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer func() { <-s.writing }()
		if err := guarded(func() error { return s.write(ctx, log, snap) }); err != nil {
			slog.WarnContext(ctx, "snapshot was not written; the stream stays long to read", "stream", snap.Stream, "error", err)
		}
	}()
}

// Flush waits until no snapshot is being written, or ctx ends, whose error it then
// returns. Call it when commands and loads are over, before what keeps the
// snapshots is closed.
func (a *Aggregate[S, E]) Flush(ctx context.Context) error {
	a.once.Do(a.init)
	if a.snapshots == nil {
		return nil
	}
	select {
	case a.snapshots.writing <- struct{}{}:
		<-a.snapshots.writing
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *snapshots[S]) write(ctx context.Context, log leat.Log, snap *snapshot[S]) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotWrite)
	defer cancel()
	info, err := s.info(ctx, log)
	if err != nil {
		return err
	}
	snap.Log, snap.Epoch = info.ID, info.Epoch
	data, err := snap.encode()
	if err != nil {
		return err
	}
	return s.Store.PutSnapshot(ctx, snap.Stream, snap.Reducer, data)
}
