package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// An Archive reads what is archived of one log. It is safe for concurrent use,
// also while archivers add to it.
type Archive struct {
	store Store
	desc  description
	keys  []note.Verifier // whose signatures count
	links linkCache
	parts partCache
}

// Open opens the archive of a log. What is read from it has to be signed with one
// of the public keys given (see Key.Public), or with one that came before, as one
// of them vouches (see Config.NewKey). Without any it is the keys that the archive
// itself names: then damage is found, but not what somebody has forged who can
// write to the store. If the store has no such archive, the error is
// [leat.ErrNotFound].
func Open(ctx context.Context, store Store, logID string, public ...string) (*Archive, error) {
	a := &Archive{store: store, desc: description{Log: logID}}
	object := a.object(descriptionName)
	data, err := store.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the archive of log %q: %w: %w", logID, leat.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the archive of log %q: %w", logID, err)
	}
	if err := decodeJSON(object, data, &a.desc); err != nil {
		return nil, err
	}
	if a.desc.Log != logID {
		return nil, corrupt(object, "describes log %q", a.desc.Log)
	}
	if a.keys, err = a.trusted(ctx, public); err != nil {
		return nil, err
	}
	if err := a.desc.verify(object, a.keys); err != nil {
		return nil, err
	}
	return a, nil
}

// Logs returns the IDs of the logs that a store has archives of, sorted.
func Logs(ctx context.Context, store Store) ([]string, error) {
	var logs []string
	for name, err := range store.List(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		id, isFolder := strings.CutSuffix(name, "/")
		if !isFolder {
			continue
		}
		if _, err := store.Size(ctx, id+"/"+descriptionName); err == nil {
			logs = append(logs, id)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return logs, nil
}

// An End says how far a shard is archived.
type End struct {
	Checkpoint Checkpoint
	Epoch      uint64
	Closed     bool      // it is all there will be
	Until      time.Time // At of the last event, zero when there is none

	Segments   uint64
	Bytes      int64 // of the segments
	EventBytes int64 // sum of leat.Event.Size
}

// Ends returns how far each shard is archived, in the order of their numbers.
func (a *Archive) Ends(ctx context.Context) ([]End, error) {
	tails, err := a.tails(ctx)
	if err != nil {
		return nil, err
	}
	var ends []End
	for _, id := range slices.Sorted(maps.Keys(tails)) {
		tail := tails[id]
		c, err := tail.verify(a.object(manifestName(id, tail.Number)), a.keys)
		if err != nil {
			return nil, err
		}
		e := End{
			Checkpoint: *c, Epoch: tail.Epoch, Closed: tail.Kind == kindClose,
			Segments: tail.Total.Segments, Bytes: tail.Total.Size, EventBytes: tail.Total.EventBytes,
		}
		if size := tail.Total.Events; size > 0 {
			l, err := a.find(ctx, id, size, tail)
			if err != nil {
				return nil, err
			}
			e.Until = l.Segment.MaxAt
		}
		ends = append(ends, e)
	}
	return ends, nil
}

// create opens the archive of a log, trusting the keys that it names itself, and
// makes it when there is none.
func create(ctx context.Context, store Store, info leat.Info, k *Key) (*Archive, error) {
	a, err := Open(ctx, store, info.ID)
	if errors.Is(err, leat.ErrNotFound) {
		d := description{Format: formatVersion, Log: info.ID, Single: info.Single, Key: k.Public()}
		if err := d.sign(k); err != nil {
			return nil, err
		}
		err = store.Create(ctx, info.ID+"/"+descriptionName, encodeJSON(d))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		a, err = Open(ctx, store, info.ID)
	}
	if err == nil && a.desc.Single != info.Single {
		err = &leat.DivergedError{Reason: fmt.Sprintf("the archive of log %s says single is %v, the log says %v", info.ID, a.desc.Single, info.Single)}
	}
	return a, err
}

// object returns the full name of an object.
func (a *Archive) object(name string) string { return a.desc.Log + "/" + name }

// Log returns the ID of the archived log.
func (a *Archive) Log() string { return a.desc.Log }

// Single reports whether the archived log is a single one.
func (a *Archive) Single() bool { return a.desc.Single }

// Checkpoint returns how far the log is archived. It lies at the end of an
// Append in every shard.
func (a *Archive) Checkpoint(ctx context.Context) (leat.Checkpoint, error) {
	tails, err := a.tails(ctx)
	if err != nil {
		return leat.Checkpoint{}, err
	}
	return checkpoint(a.desc.Log, tails), nil
}

// checkpoint returns what chains that end with the given links have archived.
func checkpoint(log string, tails map[leat.ShardID]link) leat.Checkpoint {
	c := leat.Checkpoint{Log: log}
	for shard, tail := range tails {
		c.Epoch = max(c.Epoch, tail.Epoch)
		c.Set(shard, tail.Total.Events)
	}
	return c
}

// tails returns the last link of every shard's chain.
func (a *Archive) tails(ctx context.Context) (map[leat.ShardID]link, error) {
	shards, err := a.shards(ctx)
	if err != nil {
		return nil, err
	}
	tails := make(map[leat.ShardID]link, len(shards))
	// Children before parents: a child that holds events by now has parents whose
	// chains were closed before, also when an archiver is at work.
	for _, shard := range slices.Backward(shards) {
		tail, err := a.tail(ctx, shard)
		if err != nil {
			return nil, err
		}
		if tail.Number > 0 {
			tails[shard] = tail
		}
	}
	return tails, nil
}

// shards returns the shards that have a folder of manifests, in the order of
// their numbers. An archiver that was killed may have left it empty.
func (a *Archive) shards(ctx context.Context) ([]leat.ShardID, error) {
	var shards []leat.ShardID
	for name, err := range a.store.List(ctx, a.object(manifestsFolder), "") {
		if err != nil {
			return nil, err
		}
		if shard, ok := folderShard(name); ok {
			shards = append(shards, shard)
		}
	}
	return shards, nil
}

// get returns an object that has to be there.
func (a *Archive) get(ctx context.Context, object string) ([]byte, error) {
	data, err := a.store.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt(object, "is missing")
	}
	return data, err
}

// Shards returns the archived shards with their lineage, parents before
// children. Head is the last sequence archived, and Closed says that this is all
// there will be.
func (a *Archive) Shards(ctx context.Context) ([]leat.Shard, error) {
	tails, err := a.tails(ctx)
	if err != nil {
		return nil, err
	}
	return a.shardsOf(ctx, tails)
}

// shardsOf returns the shards whose chains end with the given links.
func (a *Archive) shardsOf(ctx context.Context, tails map[leat.ShardID]link) ([]leat.Shard, error) {
	var shards []leat.Shard
	for _, id := range slices.Sorted(maps.Keys(tails)) {
		first, err := a.link(ctx, id, 1)
		if err != nil {
			return nil, err
		}
		if first.Lineage == nil {
			return nil, corrupt(a.object(manifestName(id, 1)), "is of kind %q and begins a chain", first.Kind)
		}
		tail := tails[id]
		shards = append(shards, leat.Shard{
			ID: id, From: first.Lineage.From, To: first.Lineage.To, Parents: first.Lineage.Parents,
			Oldest: 1, Head: tail.Total.Events, Closed: tail.Kind == kindClose,
		})
	}
	return shards, nil
}

// readEvents is how many events are decoded at a time.
const readEvents = 256

// Events yields the archived events of a shard after a sequence, in order, up to
// the last at the time of the call: exactly what the log held. It verifies the
// manifests on the way, the SHA-256 of every segment it reads and the leaf hash
// of every event; what is missing or does not fit is a [leat.ErrCorrupt] that
// names the object. An error is always the last pair. A shard that is not
// archived is [leat.ErrNotFound].
//
// It holds one segment in memory, compressed. Yielded memory belongs to the
// caller.
func (a *Archive) Events(ctx context.Context, shard leat.ShardID, after uint64) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		tail, err := a.tail(ctx, shard)
		if err == nil && tail.Number == 0 {
			err = fmt.Errorf("read %s from the archive of log %s: %w", shard, a.desc.Log, leat.ErrNotFound)
		}
		if err != nil {
			yield(leat.Recorded{}, err)
			return
		}
		if after >= tail.Total.Events {
			return
		}
		for l, err := range a.chainFrom(ctx, shard, after+1, tail) {
			if err != nil {
				yield(leat.Recorded{}, err)
				return
			}
			if l.Segment != nil && !a.yieldSegment(ctx, shard, *l.Segment, after, yield) {
				return
			}
		}
	}
}

// yieldSegment yields the events of one segment and reports whether to go on.
func (a *Archive) yieldSegment(ctx context.Context, shard leat.ShardID, s segment, after uint64, yield func(leat.Recorded, error) bool) bool {
	r, err := a.segment(ctx, shard, s)
	if err != nil {
		yield(leat.Recorded{}, err)
		return false
	}
	defer r.close()
	for {
		events, err := r.read(readEvents)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(leat.Recorded{}, err)
			return false
		}
		if len(events) == 0 {
			return true
		}
		for _, e := range events {
			if e.Seq > after && !yield(e, nil) {
				return false
			}
		}
	}
}

// segment returns a reader of a segment, whose bytes it has compared with its
// manifest.
func (a *Archive) segment(ctx context.Context, shard leat.ShardID, s segment) (*segmentReader, error) {
	object := a.object(s.Object)
	data, err := a.get(ctx, object)
	if err != nil {
		return nil, err
	}
	return readSegment(object, data, shard, s)
}
