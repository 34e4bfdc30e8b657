package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
)

// VerifyOptions say what Verify compares an archive with. Zero fields leave that
// out.
type VerifyOptions struct {
	// PublicKeys are those whose signatures count, see Open. Without any, the
	// archive's own word is taken for its keys.
	PublicKeys []string

	// Known are signed checkpoints of this archive that were kept elsewhere, one
	// after the other. What they speak for has to be there still.
	Known []byte

	// Since leaves out the segments whose events were all committed before it.
	// The signatures of their manifests are still checked.
	Since time.Time

	// Log is the archived log. The events that it still keeps are compared.
	Log leat.Log

	// Progress is told, now and then, how many bytes of segments are verified.
	// It is not called by two goroutines at once.
	Progress func(done, total uint64)
}

// A Report is what Verify found.
type Report struct {
	Log       string
	Shards    uint64
	Manifests uint64
	Segments  uint64 // read and verified
	Skipped   uint64 // segments that Since left out
	Events    uint64 // in Segments
	Compacted uint64 // compacted files that were read and compared with the segments
	Bytes     int64  // of Segments and Compacted
	Compared  uint64 // events that were compared with the log

	// Problems is all that is wrong, and Notes what is not but may surprise.
	// Both are sorted by object.
	Problems []Finding
	Notes    []Finding
}

// A Finding is about one object of an archive.
type Finding struct {
	Object  string `json:"object"`  // full name
	What    string `json:"what"`    // is the matter with it, "it" left out
	Meaning string `json:"meaning"` // for the data
}

func (f Finding) String() string {
	s := f.Object + " " + f.What
	if f.Meaning != "" {
		s += ": " + f.Meaning
	}
	return s
}

// Verify checks all that is archived of a log, and goes on after what is damaged:
// the Report names each object at fault. It reads every object once, on all
// processors, and needs memory for a segment on each of them and 100 MB; per event
// that is read it writes 64 bytes to files in [os.TempDir] when there are more
// than a quarter of a million.
//
// The error says why it could not look, such as a store that does not answer. An
// archive that is not there is [leat.ErrNotFound].
func Verify(ctx context.Context, store Store, log string, o VerifyOptions) (Report, error) {
	v := &verification{
		archive: &Archive{store: store, desc: description{Log: log}},
		options: o, report: Report{Log: log}, chains: make(map[leat.ShardID]*verifiedChain),
	}
	if err := v.run(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the archive of log %s: %w", log, err)
	}
	for _, findings := range [][]Finding{v.report.Problems, v.report.Notes} {
		slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Object, b.Object) })
	}
	return v.report, nil
}

// A verification is one run of Verify.
type verification struct {
	archive *Archive
	options VerifyOptions
	chains  map[leat.ShardID]*verifiedChain
	streams *streamCheck
	total   uint64 // bytes of the segments to read

	mu     sync.Mutex
	report Report
	done   uint64 // bytes of the segments read
}

// A verifiedChain is what is left of a shard's chain when what is damaged is left
// out.
type verifiedChain struct {
	shard   leat.ShardID
	index   uint32    // among the shards
	periods []*period // that are compacted, by sequence
	links   []link
	whole   bool // nothing is left out
	last    uint64

	mu     sync.Mutex
	unread []span // sequences in segments that could not be read or were left out
}

// A span is a range of sequences, both ends included.
type span struct{ first, last uint64 }

func (c *verifiedChain) tail() link {
	if len(c.links) == 0 {
		return link{}
	}
	return c.links[len(c.links)-1]
}

// opened returns how the shard came to be, nil when that is damaged.
func (c *verifiedChain) opened() *lineage {
	if len(c.links) == 0 || c.links[0].Number != 1 {
		return nil
	}
	return c.links[0].Lineage
}

// sortedChains returns the chains in the order of their shards.
func (v *verification) sortedChains() []*verifiedChain {
	return slices.SortedFunc(maps.Values(v.chains), func(a, b *verifiedChain) int { return cmp.Compare(a.index, b.index) })
}

func (c *verifiedChain) skip(s span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unread = append(c.unread, s)
}

func (v *verification) run(ctx context.Context) error {
	if err := v.open(ctx); err != nil || len(v.archive.keys) == 0 {
		return err
	}
	if err := v.compareInfo(ctx); err != nil {
		return err
	}
	shards, err := v.archive.shards(ctx)
	if err != nil {
		return err
	}
	for i, shard := range shards {
		if v.chains[shard], err = v.chain(ctx, shard, uint32(i)); err != nil {
			return err
		}
	}
	v.report.Shards = uint64(len(shards))
	if err := v.lineage(ctx); err != nil {
		return err
	}
	if err := v.epochs(ctx); err != nil {
		return err
	}
	if err := v.leftovers(ctx); err != nil {
		return err
	}
	if err := v.known(ctx); err != nil {
		return err
	}
	if err := v.catalogs(ctx); err != nil {
		return err
	}
	return v.segments(ctx)
}

func (v *verification) problem(object, what, meaning string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Problems = append(v.report.Problems, Finding{object, what, meaning})
}

func (v *verification) note(object, what, meaning string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Notes = append(v.report.Notes, Finding{object, what, meaning})
}

// fault reports an error that is about an object, and returns any other.
func (v *verification) fault(object string, err error, meaning string) error {
	var fault *objectError
	switch {
	case errors.As(err, &fault):
		v.problem(fault.object, fault.what, meaning)
	case errors.Is(err, leat.ErrUnsupported):
		v.problem(object, err.Error(), meaning)
	default:
		return err
	}
	return nil
}

// open reads log.json and the keys. When it cannot learn whose signatures count,
// it leaves the archive without keys.
func (v *verification) open(ctx context.Context) error {
	a := v.archive
	object := a.object(descriptionName)
	d := description{Log: a.desc.Log}
	data, err := a.store.Get(ctx, object)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if shards, listErr := a.shards(ctx); listErr != nil || len(shards) == 0 {
			return errors.Join(leat.ErrNotFound, err, listErr)
		}
		err = corrupt(object, "is missing")
	case err == nil:
		if err = decodeJSON(object, data, &d); err == nil && d.Log != a.desc.Log {
			err = corrupt(object, "describes log %q", d.Log)
		}
	}
	described := err == nil
	meaning := "the rest was checked with the public key given; write it anew from a copy"
	if len(v.options.PublicKeys) == 0 {
		meaning = "nothing can be checked until the archive's public key is given"
	}
	if err = v.fault(object, err, meaning); err != nil {
		return err
	}
	if described {
		a.desc = d
	}
	if err := v.keys(ctx, described); err != nil || !described {
		return err
	}
	return v.fault(object, a.desc.verify(object, a.keys), "whoever wrote it does not have the key; nothing that it says is to be believed")
}

// keys finds out whose signatures count.
func (v *verification) keys(ctx context.Context, described bool) error {
	a, public := v.archive, v.options.PublicKeys
	trusted := slices.Clone(public)
	for i := range trusted {
		trusted[i] = strings.TrimSpace(trusted[i])
	}
	given := slices.Clone(trusted)
	if len(public) == 0 && described {
		trusted = []string{a.desc.Key}
	}
	for name, err := range a.store.List(ctx, a.object(keysFolder), "") {
		if err != nil {
			return err
		}
		object := a.object(keysFolder + name)
		data, err := a.get(ctx, object)
		var s *succession
		if err == nil {
			s, err = parseSuccession(a.desc.Log, string(data))
			if err != nil {
				err = corrupt(object, "does not say which keys it follows: %v", err)
			} else if keyObject(must(s.key)) != name {
				err = corrupt(object, "is about the key %s", s.key)
			}
		}
		switch {
		case err != nil:
			if err := v.fault(object, err, "what is signed with that key and those before it may not count any more"); err != nil {
				return err
			}
		case len(public) == 0:
			trusted = append(trusted, s.key)
		case slices.Contains(given, s.key):
			trusted = append(trusted, s.before...)
		default:
			v.note(object, "is about a key that the one given does not vouch for", "what is signed with it does not count here")
		}
	}
	for _, k := range trusted {
		keys, err := verifiers([]string{k})
		if err != nil && slices.Contains(given, k) {
			return err
		}
		a.keys = distinct(append(a.keys, keys...))
	}
	return nil
}

// must returns the verifier of a key that was parsed before.
func must(public string) note.Verifier {
	k, err := note.NewVerifier(public)
	if err != nil {
		panic("archive: " + err.Error())
	}
	return k
}

// compareInfo checks that the log given is the one that is archived.
func (v *verification) compareInfo(ctx context.Context) error {
	if v.options.Log == nil {
		return nil
	}
	info, err := v.options.Log.Info(ctx)
	if err == nil && info.ID != v.archive.desc.Log {
		err = &leat.InvalidError{Field: "log", Limit: "the archived one, with the ID " + v.archive.desc.Log, Got: info.ID}
	}
	return err
}

// segments verifies the segments of all chains.
func (v *verification) segments(ctx context.Context) error {
	heads, err := v.logShards(ctx)
	if err != nil {
		return err
	}
	var jobs []verifyJob
	events := uint64(0)
	for _, c := range v.sortedChains() {
		left := uint64(0) // last sequence that is left out
		for i, l := range c.links {
			if l.Segment == nil {
				continue
			}
			if l.Segment.MaxAt.Before(v.options.Since) {
				c.skip(span{l.Segment.First, l.Segment.Last})
				v.report.Skipped++
				left = l.Segment.Last
				continue
			}
			j := segmentJob{chain: c, link: l, log: heads[c.shard]}
			if i > 0 && c.links[i-1].Number == l.Number-1 {
				j.before = &c.links[i-1]
			}
			jobs = append(jobs, verifyJob{l.Segment.Size, func(ctx context.Context, w *streamWriter) error { return v.segment(ctx, j, w) }})
			events += l.Segment.Events
			v.total += uint64(l.Segment.Size)
		}
		c.periods = slices.DeleteFunc(c.periods, func(p *period) bool { return p.last <= left })
		for _, p := range c.periods {
			for i, f := range p.files {
				jobs = append(jobs, verifyJob{f.Size, func(ctx context.Context, _ *streamWriter) error { return v.sorted(ctx, p, i) }})
				v.total += uint64(f.Size)
			}
		}
	}
	if v.streams, err = newStreamCheck(events); err != nil {
		return err
	}
	defer v.streams.close()
	if err := v.work(ctx, jobs); err != nil {
		return err
	}
	v.compare()
	return v.versions(ctx)
}

// A verifyJob verifies one object of so many bytes.
type verifyJob struct {
	size int64
	do   func(context.Context, *streamWriter) error
}

// work does jobs on all processors.
func (v *verification) work(ctx context.Context, jobs []verifyJob) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan verifyJob)
	g.Go(func() error {
		defer close(queue)
		for _, j := range jobs {
			select {
			case queue <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			w := v.streams.writer()
			for j := range queue {
				if err := j.do(ctx, w); err != nil {
					return err
				}
				v.progress(uint64(j.size))
			}
			return w.flush()
		})
	}
	return g.Wait()
}

func (v *verification) progress(bytes uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += bytes
	if v.options.Progress != nil {
		v.options.Progress(v.done, v.total)
	}
}

// logShards returns the shards of the log that is compared.
func (v *verification) logShards(ctx context.Context) (map[leat.ShardID]leat.Shard, error) {
	if v.options.Log == nil {
		return nil, nil
	}
	shards, err := v.options.Log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	heads := make(map[leat.ShardID]leat.Shard)
	for _, s := range shards {
		heads[s.ID] = s
	}
	for shard, c := range v.chains {
		if s := heads[shard]; s.Head < c.tail().Total.Events {
			v.problem(fmt.Sprintf("%s of the log itself", shard), fmt.Sprintf("ends at sequence %d, and its archive at %d", s.Head, c.tail().Total.Events),
				"it has lost events, or was set back to a copy; restore it from the archive")
		}
	}
	return heads, nil
}
