package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// A Config says when an Archiver cuts segments. Zero fields stand for the
// defaults.
type Config struct {
	// Key signs what is archived; it is needed. See LoadKey.
	Key *Key

	// NewKey lets Key be another one than that which the archive began with, as
	// when that is lost. Key then vouches for all that is archived so far, so
	// verify the archive first, and set NewKey for one start only. Who verifies
	// the archive from then on needs the new public key and no other.
	NewKey bool

	// SegmentBytes is the size, in bytes of events (leat.Event.Size), at which a
	// segment is cut: at the end of the Append that reaches it. An archiver
	// keeps about this much in memory, compressed, for each open shard.
	SegmentBytes int64

	// MaxAge is how long an event waits in the log before its segment is cut
	// without having reached SegmentBytes.
	MaxAge time.Duration
}

// Defaults of Config.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultMaxAge       = time.Minute
)

const (
	// pollInterval is how often Run looks for new events.
	pollInterval = time.Second
	// maxRetryInterval is the longest that Run waits after errors in a row.
	maxRetryInterval = time.Minute
	// readLimit is the number of events the archiver asks the log for.
	readLimit = 8192
)

// errMoved says that the archive or the log is not where the archiver thought:
// another archiver was faster, or the log was restored.
var errMoved = errors.New("the archive has moved on")

// An Archiver copies a log into a store. Its methods are safe for concurrent
// use. Several archivers of one log may work at once, in other processes too:
// what one has archived the others do not archive again.
type Archiver struct {
	log    leat.Log
	store  Store
	config Config
	codec  zstd.Codec // keeps its encoders for the next segment
	files  sync.Pool  // *bytes.Buffer, for segments being cut

	turn    chan struct{} // holds one token: who takes it may use the fields below
	archive *Archive      // nil before the first pass and after an error
	opened  position      // when archive was opened
	ended   []endedEpoch  // of the log then
	chains  map[leat.ShardID]*chain
	found   atomic.Uint64 // events read in this pass

	progress progress
}

// A position tells whether the archive and the log have moved on.
type position struct {
	epoch     uint64 // of the log
	manifests uint64 // in the archive
}

// A chain is the end of a shard's archive and what is to be added to it.
type chain struct {
	tail    link
	pending *segmentWriter // nil when it holds no events
	read    uint64         // last sequence in pending, or archived
	due     time.Time      // when to cut pending
}

// NewArchiver returns an archiver that copies log into store.
func NewArchiver(log leat.Log, store Store, c Config) (*Archiver, error) {
	if c.Key == nil {
		return nil, &leat.InvalidError{Field: "archive key", Limit: "a key, see LoadKey", Got: "none"}
	}
	if c.SegmentBytes < 0 {
		return nil, &leat.InvalidError{Field: "archive segment bytes", Limit: "positive", Got: fmt.Sprint(c.SegmentBytes)}
	}
	if c.MaxAge < 0 {
		return nil, &leat.InvalidError{Field: "archive max age", Limit: "positive", Got: c.MaxAge.String()}
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	a := &Archiver{log: log, store: store, config: c, codec: zstd.Codec{Level: compressionLevel}, turn: make(chan struct{}, 1)}
	a.files.New = func() any { return new(bytes.Buffer) }
	a.turn <- struct{}{}
	return a, nil
}

// Run archives the log until ctx ends, and then returns nil. Events of a segment
// not yet cut are left to the next Run or Flush.
//
// When the store or the log fails it tries again, less and less often, also when
// credentials have expired or the bucket is gone; Stats tells the error. It
// returns an error that trying again cannot mend: the log was trimmed above what
// is archived ([leat.ErrTrimmed]), it is not the log that was archived, has lost
// events, or was restored elsewhere since ([leat.ErrDiverged]), the archive is
// damaged ([leat.ErrCorrupt]) or of a newer format ([leat.ErrUnsupported]), it is
// signed with another key ([ErrOtherKey]), or the log was closed
// ([leat.ErrClosed]).
func (a *Archiver) Run(ctx context.Context) (err error) {
	a.progress.running(nil)
	defer func() { a.progress.stopped(err) }()
	wait := pollInterval
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		much, err := a.pass(ctx, leat.Checkpoint{})
		if ctx.Err() != nil {
			return nil
		}
		a.progress.running(err)
		switch {
		case fatal(err):
			return err
		case err != nil:
			wait = min(2*wait, maxRetryInterval)
		default:
			wait = min(pollInterval, a.config.MaxAge)
		}
		if much { // there is more by now
			timer.Reset(0)
			continue
		}
		timer.Reset(wait)
	}
}

// fatal reports whether trying again is of no use.
func fatal(err error) bool {
	for _, target := range []error{
		leat.ErrTrimmed, leat.ErrDiverged, leat.ErrCorrupt, leat.ErrUnsupported, leat.ErrInvalid, leat.ErrClosed, ErrOtherKey,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// Flush archives the log at least up to a checkpoint, cutting segments short,
// and returns when all of it is archived. It can be called while Run is running.
// A checkpoint that does not lie on the log's history is a [*leat.DivergedError].
func (a *Archiver) Flush(ctx context.Context, to leat.Checkpoint) error {
	info, err := a.log.Info(ctx)
	if err != nil {
		return fmt.Errorf("flush the archive: %w", err)
	}
	shards, err := a.log.Shards(ctx)
	if err != nil {
		return fmt.Errorf("flush the archive of log %s: %w", info.ID, err)
	}
	if err := to.Verify(info, shards); err != nil {
		return fmt.Errorf("flush the archive of log %s: %w", info.ID, err)
	}
	_, err = a.pass(ctx, to)
	return err
}

// pass archives every shard up to its head. It leaves segments that are neither
// full nor due uncut, unless that leaves out events up to a checkpoint. It tells
// whether it found much to read.
func (a *Archiver) pass(ctx context.Context, to leat.Checkpoint) (much bool, err error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-a.turn:
	}
	defer func() { a.turn <- struct{}{} }()
	a.found.Store(0)
	var last position
	for {
		err := a.tryPass(ctx, to)
		if ctx.Err() == nil {
			a.progress.tried(err)
		}
		if err == nil {
			return a.found.Load() >= readLimit, nil
		}
		// What was read is forgotten: the store knows what is archived.
		opened := a.opened
		a.archive, a.chains = nil, nil
		if !errors.Is(err, errMoved) || opened == last {
			return false, fmt.Errorf("archive the log: %w", err)
		}
		last = opened
	}
}

func (a *Archiver) tryPass(ctx context.Context, to leat.Checkpoint) error {
	if a.archive == nil {
		if err := a.open(ctx); err != nil {
			return err
		}
	}
	shards, err := a.log.Shards(ctx)
	if err != nil {
		return err
	}
	// All chains begin before anything is added to one: the archive knows the
	// shards that there are as early as it can.
	for _, s := range shards {
		if _, err := a.chain(ctx, s); err != nil {
			return err
		}
	}
	for len(shards) > 0 {
		// The archive never holds events without what came before.
		ready, later := a.ready(shards)
		if len(ready) == 0 {
			return nil
		}
		if err := a.sideBySide(ctx, ready, to); err != nil {
			return err
		}
		shards = later
	}
	return nil
}

// ready parts the shards whose parents are archived to their ends from the
// others.
func (a *Archiver) ready(shards []leat.Shard) (ready, later []leat.Shard) {
	for _, s := range shards {
		if slices.ContainsFunc(s.Parents, func(p leat.ShardID) bool { return a.chains[p].tail.Kind != kindClose }) {
			later = append(later, s)
		} else {
			ready = append(ready, s)
		}
	}
	return ready, later
}

// sideBySide archives shards on all cores: to compress events takes longer than
// to append them.
func (a *Archiver) sideBySide(ctx context.Context, shards []leat.Shard, to leat.Checkpoint) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, s := range shards {
		group.Go(func() error { return a.shard(ctx, s, a.chains[s.ID], to.Seqs[s.ID]) })
	}
	return group.Wait()
}

// open reads how far the log is archived and checks that this lies on its
// history.
func (a *Archiver) open(ctx context.Context) error {
	info, err := a.log.Info(ctx)
	if err != nil {
		return err
	}
	archive, err := create(ctx, a.store, info, a.config.Key)
	if err != nil {
		return err
	}
	if err := archive.admit(ctx, a.config.Key, a.config.NewKey); err != nil {
		return err
	}
	tails, err := archive.tails(ctx)
	if err != nil {
		return err
	}
	// After the tails: what another archiver adds meanwhile is in the log already.
	shards, err := a.log.Shards(ctx)
	if err != nil {
		return err
	}
	if err := compare(ctx, a.log, info, shards, tails); err != nil {
		return fmt.Errorf("compare log %s with its archive: %w", info.ID, err)
	}
	a.archive, a.chains = archive, make(map[leat.ShardID]*chain)
	a.opened, a.ended = position{epoch: info.Epoch}, endedEpochs(info)
	for shard, tail := range tails {
		a.chains[shard] = newChain(tail)
		a.opened.manifests += tail.Number
	}
	for _, s := range shards {
		a.progress.reached(s.ID, tails[s.ID].Total.Events)
	}
	return nil
}

func newChain(tail link) *chain { return &chain{tail: tail, read: tail.Total.Events} }

// chain returns the chain of a shard, and begins it if the shard is new or the
// log of a new epoch.
func (a *Archiver) chain(ctx context.Context, s leat.Shard) (*chain, error) {
	c := a.chains[s.ID]
	if c == nil {
		c = newChain(link{})
		a.chains[s.ID] = c
	}
	if c.tail.Epoch == a.opened.epoch || c.tail.Kind == kindClose {
		return c, nil
	}
	m := a.next(c, s.ID, kindOpen)
	m.Lineage = &lineage{From: s.From, To: s.To, Parents: append([]leat.ShardID{}, s.Parents...)}
	m.Ended = a.ended
	return c, a.commit(ctx, c, m)
}

// next returns a manifest that continues a chain, without what its kind holds.
func (a *Archiver) next(c *chain, shard leat.ShardID, kind manifestKind) manifest {
	return c.tail.next(kind, a.archive.desc.Log, shard, a.opened.epoch)
}

// shard archives a shard whose parents are archived.
func (a *Archiver) shard(ctx context.Context, s leat.Shard, c *chain, to uint64) error {
	if c.tail.Kind == kindClose {
		return nil
	}
	for b := range a.readAhead(ctx, s, c.read) {
		if b.err != nil {
			return b.err
		}
		if err := a.add(ctx, s.ID, c, b); err != nil {
			return err
		}
		a.found.Add(uint64(len(b.events)))
	}
	if c.pending != nil && (s.Closed || c.tail.Total.Events < to || !time.Now().Before(c.due)) {
		if err := a.cut(ctx, s.ID, c); err != nil {
			return err
		}
	}
	if s.Closed {
		return a.commit(ctx, c, a.next(c, s.ID, kindClose))
	}
	return nil
}

// add adds the next batch of a shard to its pending segment and cuts what is
// full.
func (a *Archiver) add(ctx context.Context, shard leat.ShardID, c *chain, b hashedBatch) error {
	for i := range b.events {
		e := &b.events[i]
		if c.pending != nil && e.Commit == e.Seq && c.pending.desc.EventBytes >= a.config.SegmentBytes {
			if err := a.cut(ctx, shard, c); err != nil {
				return err
			}
		}
		if c.pending == nil {
			edge, err := c.tail.edge()
			if err != nil {
				return err
			}
			c.pending, c.due = newSegmentWriter(&a.codec, edge), earlier(e.At, time.Now()).Add(a.config.MaxAge)
		}
		if err := c.pending.add(e, b.leaves[i]); err != nil {
			return err
		}
		c.read = e.Seq
	}
	return nil
}

// earlier returns the earlier of the moment an event was committed and now: the
// clock of the log may be ahead.
func earlier(at, now time.Time) time.Time {
	if at.Before(now) {
		return at
	}
	return now
}

// cut archives the pending segment of a shard: the file first, then the manifest
// that makes it part of the archive.
func (a *Archiver) cut(ctx context.Context, shard leat.ShardID, c *chain) error {
	file := a.files.Get().(*bytes.Buffer)
	defer a.files.Put(file)
	file.Reset()
	desc, err := c.pending.finish(file)
	if err != nil {
		return err
	}
	if desc.Object, err = a.createSegment(ctx, shard, desc, file.Bytes()); err != nil {
		return err
	}
	m := a.next(c, shard, kindSegment)
	m.add(desc)
	m.Tree = newTree(&c.pending.edge)
	if err := a.commit(ctx, c, m); err != nil {
		return err
	}
	a.progress.added(desc)
	c.pending = nil
	return nil
}

// createSegment creates the object of a segment and returns its name. An object
// that exists was left by an archiver that was killed, or is being made by
// another one. It holds the same bytes, unless that one was built with another
// compressor or read an epoch that a restore has ended; then the segment takes
// a name that holds its own hash.
func (a *Archiver) createSegment(ctx context.Context, shard leat.ShardID, s segment, data []byte) (string, error) {
	for _, name := range []string{
		segmentName(shard, s.First, s.Last), segmentNameOf(shard, s.First, s.Last, s.SHA256),
	} {
		object := a.archive.object(name)
		err := a.store.Create(ctx, object, data)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		existing, err := a.store.Get(ctx, object)
		if err != nil {
			return "", err
		}
		if hexSum(existing) == s.SHA256 {
			return name, nil
		}
	}
	return "", corrupt(a.archive.object(segmentNameOf(shard, s.First, s.Last, s.SHA256)), "does not have the SHA-256 in its name")
}

// commit creates a manifest at the end of a shard's chain.
func (a *Archiver) commit(ctx context.Context, c *chain, m manifest) error {
	if m.Number == 1 {
		m.Tree = newTree(&edge{})
	}
	if err := m.sign(a.config.Key); err != nil {
		return err
	}
	data := encodeJSON(m)
	err := a.store.Create(ctx, a.archive.object(manifestName(m.Shard, m.Number)), data)
	if errors.Is(err, fs.ErrExist) {
		return errMoved
	}
	if err != nil {
		return err
	}
	c.tail = link{m, hexSum(data)}
	a.progress.reached(m.Shard, m.Total.Events)
	return nil
}
