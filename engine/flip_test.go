package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// TestFlips damages a byte of the files of a small log, a different one each
// time. Whoever opens, reads or checks the log then gets the right events or an
// error, which names the log; never another event, never one too few, and
// nothing that is known is taken for new.
func TestFlips(t *testing.T) {
	whole := smallLog(t)
	var places []flip
	for _, name := range whole.names {
		for i := range whole.files[name] {
			places = append(places, flip{name, i})
		}
	}
	step := max(1, len(places) / *flips)
	var next, refused, told, unharmed atomic.Int64
	campaign(t, nil, func(seed uint64) (bool, error) {
		rng := seeded(seed)
		n := int(next.Add(int64(step))) - step + rng.IntN(step)
		if n >= len(places) {
			return true, nil
		}
		f := places[n]
		outcome, err := whole.damage(t.Context(), f, rng)
		if err != nil {
			return false, fmt.Errorf("byte %d of %s (%d bytes): %w", f.at, f.name, len(whole.files[f.name]), err)
		}
		map[string]*atomic.Int64{"refused": &refused, "told": &told, "unharmed": &unharmed}[outcome].Add(1)
		return false, nil
	})
	t.Logf("of %d bytes in %d files, one in %d was damaged: refused to open %d, told when read or checked %d, unharmed %d",
		len(places), len(whole.names), step, refused.Load(), told.Load(), unharmed.Load())
}

// A flip is a place in a file.
type flip struct {
	name string
	at   int
}

// A keptLog is a log, closed, byte by byte, and what it holds.
type keptLog struct {
	names    []string // of its files
	files    map[string][]byte
	book     *ledger
	tally    tally
	contents *contents
}

// smallLog makes a log with something of everything: files of blocks, tables of
// the index and of what is flushed, shards that are split and trimmed.
func smallLog(t *testing.T) *keptLog {
	t.Helper()
	k := &keptLog{files: make(map[string][]byte), book: &ledger{}}
	fs := vfs.NewMem()
	o := campaignOptions(fs)
	o.GenerationEvents = 10
	log, err := engine.Create("log", leat.Config{}, o)
	if err != nil {
		t.Fatal(err)
	}
	rng := seeded(1)
	for n := range 24 {
		switch n {
		case 8:
			if _, err := log.Split(t.Context(), leat.ShardNumber(0), leat.HashKey{0x80}); err != nil {
				t.Fatal(err)
			}
		case 12:
			k.book.note(trimming{leat.ShardNumber(0), 4})
			if _, err := log.Trim(t.Context(), leat.ShardNumber(0), 4); err != nil {
				t.Fatal(err)
			}
		case 16:
			closeLog(t, log)
			if log, err = engine.Open("log", o); err != nil {
				t.Fatal(err)
			}
		}
		name := fmt.Sprint("Append-", n)
		events := make([]leat.Event, 1+n%3)
		for i := range events {
			events[i] = leat.Event{
				ID: drawID(rng, fmt.Sprint(name, "-", i)), Stream: fmt.Sprint("order-", n%4), Type: name, Source: "test",
				Data: []byte(strings.Repeat(name, 1+n*n%60)), Meta: leat.NewMeta("n", name),
			}
		}
		if _, err := k.book.append(t.Context(), log, name, events); err != nil {
			t.Fatal(err)
		}
	}
	if k.contents, err = readContents(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	k.tally = k.book.tally()
	k.keep(t, fs)
	return k
}

// keep notes the files of a log that is closed.
func (k *keptLog) keep(t *testing.T, fs vfs.FS) {
	t.Helper()
	for _, name := range append(mustList(t, fs, "log", ""), mustList(t, fs, "log/blocks", "blocks/")...) {
		k.names, k.files[name] = append(k.names, name), contentOf(t, fs, "log/"+name)
	}
}

// mustList returns the files in a directory, in order, with a prefix.
func mustList(t *testing.T, fs vfs.FS, dir, prefix string) (names []string) {
	t.Helper()
	all, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	for _, name := range all {
		if info, err := fs.Stat(dir + "/" + name); err == nil && !info.IsDir() {
			names = append(names, prefix+name)
		}
	}
	return names
}

// damage damages a copy of the log and says what became of it.
func (k *keptLog) damage(ctx context.Context, f flip, rng *rand.Rand) (outcome string, err error) {
	fs, err := k.copy(f, byte(1)<<rng.IntN(8))
	if err != nil {
		return "", err
	}
	report, checkErr := engine.Check(ctx, "log", engine.Options{FS: fs}, nil)
	log, err := engine.Open("log", campaignOptions(fs))
	if err != nil {
		if checkErr == nil && report.Found == 0 {
			return "", fmt.Errorf("it cannot be opened (%w), and Check finds nothing wrong", err)
		}
		if !strings.Contains(err.Error(), "log") {
			return "", fmt.Errorf("the error does not name the log: %w", err)
		}
		return "refused", nil
	}
	outcome, err = k.inspect(ctx, log)
	if err == nil && outcome == "told" && checkErr == nil && report.Found == 0 {
		err = errors.New("Check finds nothing wrong with a log that cannot be read")
	}
	if closeErr := log.Close(); outcome != "told" {
		err = errors.Join(err, closeErr)
	}
	return outcome, err
}

// copy returns a file system with the log, of which one byte is another.
func (k *keptLog) copy(damaged flip, bits byte) (vfs.FS, error) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("log/blocks", 0o755); err != nil {
		return nil, err
	}
	for name, data := range k.files {
		if name == damaged.name {
			data = slices.Clone(data)
			data[damaged.at] ^= bits
		}
		f, err := fs.Create("log/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return fs, nil
}

// inspect compares a log that opened with what it was.
func (k *keptLog) inspect(ctx context.Context, log *engine.Log) (outcome string, err error) {
	outcome = "unharmed"
	shards, err := log.Shards(ctx)
	if err != nil {
		return "", err
	}
	heads := make(map[leat.ShardID]uint64)
	for i, was := range k.contents.shards {
		if i >= len(shards) {
			return "", fmt.Errorf("%s is gone", was.ID)
		}
		s := shards[i]
		heads[s.ID] = s.Head
		if !reflect.DeepEqual(s, was) {
			return "", fmt.Errorf("%+v became %+v", was, s)
		}
	}
	problems := 0
	for _, s := range shards {
		if err := k.inspectShard(ctx, log, s, &problems); err != nil {
			return "", err
		}
	}
	for stream, want := range k.contents.streams {
		want = slices.DeleteFunc(slices.Clone(want), func(e leat.Recorded) bool { return e.Seq > heads[e.Shard] })
		if err := inspectStream(ctx, log, stream, want, &problems); err != nil {
			return "", err
		}
	}
	for _, name := range k.tally.names {
		r := k.tally.acked[name]
		if err := k.inspectAgain(ctx, log, name, r.Last <= heads[r.Shard], &problems); err != nil {
			return "", err
		}
	}
	if problems > 0 {
		outcome = "told"
	}
	return outcome, nil
}

// inspectShard reads a shard, and counts an error.
func (k *keptLog) inspectShard(ctx context.Context, log *engine.Log, s leat.Shard, problems *int) error {
	want := k.contents.events[s.ID]
	for after := s.Oldest - 1; after < s.Head; {
		b, err := log.ReadShard(ctx, s.ID, after, leat.ReadOptions{Filter: leat.Filter{System: true}, Limit: 1})
		if err != nil {
			*problems++
			return nil //nolint:nilerr // it is counted
		}
		for _, e := range b.Events {
			if n := e.Seq - s.Oldest; n >= uint64(len(want)) || !reflect.DeepEqual(e, want[n]) {
				return fmt.Errorf("read %s after %d: got %+v", s.ID, after, e)
			}
		}
		if b.Next <= after || uint64(len(b.Events)) != b.Next-after || k.divides(s, b.Next) {
			return fmt.Errorf("read %s after %d: got %d events, Next %d", s.ID, after, len(b.Events), b.Next)
		}
		after = b.Next
	}
	return nil
}

// divides reports whether a sequence is inside an Append.
func (k *keptLog) divides(s leat.Shard, seq uint64) bool {
	events, next := k.contents.events[s.ID], seq+1-s.Oldest
	return next < uint64(len(events)) && events[next].Commit <= seq
}

// inspectStream reads a stream, and counts an error.
func inspectStream(ctx context.Context, log *engine.Log, stream string, want []leat.Recorded, problems *int) error {
	if len(want) == 0 {
		return nil
	}
	n := 0
	for e, err := range log.ReadStream(ctx, stream, leat.Range{After: want[0].Version - 1}) {
		if err != nil {
			*problems++
			return nil
		}
		if n >= len(want) || !reflect.DeepEqual(e, want[n]) {
			return fmt.Errorf("read stream %q: got %+v", stream, e)
		}
		n++
	}
	if n < len(want) {
		return fmt.Errorf("read stream %q: got %d of %d events and no error", stream, n, len(want))
	}
	return nil
}

// inspectAgain appends once more what was acknowledged, and is known or not, and
// counts an error.
func (k *keptLog) inspectAgain(ctx context.Context, log *engine.Log, name string, known bool, problems *int) error {
	r, err := log.Append(ctx, slices.Clone(k.tally.given[name]))
	want := k.tally.acked[name]
	want.Duplicate = true
	switch {
	case errors.Is(err, leat.ErrPartial) || errors.Is(err, leat.ErrIDReused):
		return fmt.Errorf("append %s again: %w", name, err)
	case err != nil:
		*problems++
	case known && !reflect.DeepEqual(r, want), !known && r.Duplicate:
		return fmt.Errorf("appended again, %s gets\n%+v, want\n%+v", name, r, want)
	}
	return nil
}
