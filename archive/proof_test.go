package archive_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/eventjson"
)

var first = leat.ShardNumber(0)

// plainTree returns the hashes of the tree of a shard as package tlog keeps them,
// from nothing but the leaf hashes in its segments.
func plainTree(t testing.TB, store *memoryStore, log string, shard leat.ShardID) tlog.HashReader {
	t.Helper()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	n := int64(0)
	for _, m := range manifests(t, store, log, shard) {
		if m.Segment == nil {
			continue
		}
		data := store.objects[log+"/"+m.Segment.Object]
		rows, err := parquet.Read[struct {
			LeafHash [32]byte `parquet:"leaf_hash"`
		}](bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			more, err := tlog.StoredHashesForRecordHash(n, r.LeafHash, reader)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
			n++
		}
	}
	return reader
}

// proven checks the proof of one event at one size.
func proven(t *testing.T, a *archive.Archive, plain tlog.HashReader, want *leat.Recorded, size uint64) {
	t.Helper()
	p, e, err := a.Prove(t.Context(), want.Shard, want.Seq, size)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.ProveRecord(int64(size), int64(want.Seq-1), plain)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Hashes, []tlog.Hash(hashes)) {
		t.Fatalf("sequence %d of %d: another proof than of plain hashes", want.Seq, size)
	}
	if !reflect.DeepEqual(normal(e), normal(*want)) {
		t.Fatalf("sequence %d: the event is\n%+v, want\n%+v", want.Seq, e, *want)
	}
	again, err := archive.ParseProof(p.String())
	if err != nil || !reflect.DeepEqual(again.String(), p.String()) {
		t.Fatalf("%v: the proof came back as\n%s, want\n%s", err, again, p)
	}
	if c, err := archive.VerifyProof(again, want, testKey(t).Public()); err != nil || c.Size != size || c.Shard != want.Shard {
		t.Fatalf("sequence %d of %d: %v, checkpoint %+v", want.Seq, size, err, c)
	}
	held, err := again.Event()
	held.Shard, held.Seq, held.Commit = want.Shard, want.Seq, want.Commit
	if err != nil || !reflect.DeepEqual(normal(held), normal(*want)) {
		t.Fatalf("%v: the proof holds\n%+v, want\n%+v", err, held, *want)
	}
}

func consistent(t *testing.T, a *archive.Archive, plain tlog.HashReader, old *archive.Checkpoint, size uint64) {
	t.Helper()
	p, err := a.ProveConsistency(t.Context(), old, size)
	if err != nil {
		t.Fatal(err)
	}
	if old.Size > 0 {
		hashes, err := tlog.ProveTree(int64(size), int64(old.Size), plain)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.Hashes, []tlog.Hash(hashes)) {
			t.Fatalf("from %d to %d: another proof than of plain hashes", old.Size, size)
		}
	}
	again, err := archive.ParseConsistencyProof(p.String())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := archive.VerifyConsistency(again, old, testKey(t).Public()); err != nil || c.Size != size {
		t.Fatalf("from %d to %d: %v, checkpoint %+v", old.Size, size, err, c)
	}
}

// checkpoints returns every signed checkpoint of a shard.
func checkpoints(t testing.TB, store archive.Store, log string, shard leat.ShardID) []*archive.Checkpoint {
	t.Helper()
	var all []*archive.Checkpoint
	for _, m := range manifests(t, store, log, shard) {
		c, err := archive.ParseCheckpoint(m.Checkpoint, testKey(t).Public())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestProofsOfAllSizes(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	const most = 140 // more than 128
	for range most {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	r, plain, events := openArchive(t, store, log), plainTree(t, store, "shop", first), readLog(t, log, first)
	known := checkpoints(t, store, "shop", first)
	for size := 1; size <= most; size++ {
		for range 3 {
			proven(t, r, plain, &events[rng.IntN(size)], uint64(size))
			consistent(t, r, plain, known[rng.IntN(size+1)], uint64(size))
		}
	}
	for i := range events {
		proven(t, r, plain, &events[i], most)
		consistent(t, r, plain, known[i], most)
	}
}

func TestProofsOfSegments(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 12 {
		appendSome(t, log, rng, 1+rng.IntN(600))
		flush(t, a, log)
	}
	r := openArchive(t, store, log)
	for _, shard := range []leat.ShardID{first, leat.ShardNumber(1)} {
		plain, events := plainTree(t, store, "shop", shard), readLog(t, log, shard)
		known := checkpoints(t, store, "shop", shard)
		for range 200 {
			c := known[1+rng.IntN(len(known)-1)]
			proven(t, r, plain, &events[rng.IntN(int(c.Size))], c.Size)
			consistent(t, r, plain, known[rng.IntN(int(c.Number))], c.Size)
		}
	}
}

// Proofs read as few objects as the logarithm of the archive's size.
func TestProofsReadLittle(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 1000 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	r := openArchive(t, store, log)
	before := store.calls
	if _, _, err := r.Prove(t.Context(), first, 333, 777); err != nil {
		t.Fatal(err)
	}
	const most = 150 // ten subtrees, each found among a thousand manifests with ten of them, most of which are known then
	if calls := store.calls - before; calls > most {
		t.Errorf("a proof took %d calls of the store, want at most %d", calls, most)
	}
}

func TestProveWhatIsNotThere(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		for range 10 {
			appendOne(t, log, "order-1")
		}
		flush(t, a, log)
	}
	r := openArchive(t, store, log)
	for _, c := range []struct {
		shard     leat.ShardID
		seq, size uint64
	}{{first, 0, 0}, {first, 31, 0}, {first, 11, 10}, {first, 1, 31}, {first, 1, 7}, {leat.ShardNumber(1), 1, 0}} {
		if _, _, err := r.Prove(t.Context(), c.shard, c.seq, c.size); !errors.Is(err, leat.ErrNotFound) {
			t.Errorf("sequence %d of %d in %s: %v, want ErrNotFound", c.seq, c.size, c.shard, err)
		}
	}
	known := checkpoints(t, store, "shop", first)
	for what, c := range map[string]struct {
		old  archive.Checkpoint
		size uint64
		want error
	}{
		"a later one":      {*known[2], 10, leat.ErrNotFound},
		"none of the size": {*known[1], 15, leat.ErrNotFound},
		"no such shard":    {archive.Checkpoint{Log: "shop", Shard: leat.ShardNumber(1)}, 0, leat.ErrNotFound},
		"another log":      {archive.Checkpoint{Log: "bank", Shard: first}, 0, leat.ErrNotFound},
		"another root":     {archive.Checkpoint{Log: "shop", Shard: first, Size: 10}, 0, leat.ErrCorrupt},
	} {
		if _, err := r.ProveConsistency(t.Context(), &c.old, c.size); !errors.Is(err, c.want) {
			t.Errorf("consistency, %s: %v, want %v", what, err, c.want)
		}
	}
}

// A forged event cannot be proven.
func TestForgedEvent(t *testing.T) {
	rng := seeded(t)
	key := testKey(t)
	archiveOf := func(c leat.Config) (*archive.Archive, []leat.Recorded) {
		log, store := newLog(t, c, nil), newMemoryStore()
		a := newArchiver(t, log, store)
		for range 3 {
			appendSome(t, log, rng, 40)
			flush(t, a, log)
		}
		return openArchive(t, store, log), readLog(t, log, first)
	}
	shop, events := archiveOf(leat.Config{ID: "shop"})
	bank, _ := archiveOf(leat.Config{ID: "bank", Shards: leat.EvenShards(1)})
	other, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	prove := func(a *archive.Archive, seq, size uint64) *archive.Proof {
		p, _, err := a.Prove(t.Context(), first, seq, size)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const seq = 33
	good := prove(shop, seq, 0)
	forge := func(what string, p archive.Proof, e leat.Recorded, keys ...string) {
		t.Helper()
		if len(keys) == 0 {
			keys = []string{key.Public()}
		}
		if c, err := archive.VerifyProof(&p, &e, keys...); !errors.Is(err, leat.ErrCorrupt) && !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%s: accepted (%v) with the checkpoint %+v", what, err, c)
		}
	}
	// The position is not part of the leaf; without it, the index alone counts.
	bare := events[seq-1]
	bare.Shard, bare.Seq, bare.Commit = "", 0, 0
	if _, err := archive.VerifyProof(good, &bare, key.Public()); err != nil {
		t.Fatalf("the true event: %v", err)
	}

	for what, change := range map[string]func(e *leat.Recorded){
		"id":           func(e *leat.Recorded) { e.ID += "x" },
		"stream":       func(e *leat.Recorded) { e.Stream += "x" },
		"type":         func(e *leat.Recorded) { e.Type += "x" },
		"source":       func(e *leat.Recorded) { e.Source += "x" },
		"time":         func(e *leat.Recorded) { e.Time = e.Time.Add(1) },
		"content type": func(e *leat.Recorded) { e.ContentType += "x" },
		"data":         func(e *leat.Recorded) { e.Data = append(slices.Clone(e.Data), 0) },
		"meta":         func(e *leat.Recorded) { e.Meta = e.Meta.With("forged", "") },
		"version":      func(e *leat.Recorded) { e.Version++ },
		"at":           func(e *leat.Recorded) { e.At = e.At.Add(1) },
		"shard":        func(e *leat.Recorded) { e.Shard = leat.ShardNumber(1) },
		"sequence":     func(e *leat.Recorded) { e.Seq++ },
		"shifted field": func(e *leat.Recorded) {
			e.Stream, e.Type = e.Stream[:len(e.Stream)-1], e.Stream[len(e.Stream)-1:]+e.Type
		},
		"another event": func(e *leat.Recorded) { *e = events[seq] },
	} {
		e := events[seq-1]
		change(&e)
		forge("another "+what, *good, e)
	}
	for index := range uint64(130) {
		if p := *good; index != good.Index {
			p.Index = index
			forge("another index", p, bare)
		}
	}
	for i := range good.Hashes {
		p := *good
		p.Hashes = slices.Clone(good.Hashes)
		p.Hashes[i][rng.IntN(32)] ^= 1
		forge("another hash", p, bare)
		p.Hashes = slices.Delete(slices.Clone(good.Hashes), i, i+1)
		forge("a hash less", p, bare)
		p.Hashes = slices.Insert(slices.Clone(good.Hashes), i, good.Hashes[i])
		forge("a hash more", p, bare)
	}
	unsigned, _, _ := strings.Cut(good.Checkpoint, "— ")
	for what, p := range map[string]*archive.Proof{
		"proof of another event":       prove(shop, seq+1, 0),
		"proof in another log":         prove(bank, seq, 0),
		"checkpoint of another log":    {Index: good.Index, Hashes: good.Hashes, Checkpoint: prove(bank, seq, 0).Checkpoint},
		"checkpoint of another size":   {Index: good.Index, Hashes: good.Hashes, Checkpoint: prove(shop, seq, 80).Checkpoint},
		"size changed":                 {Index: good.Index, Hashes: good.Hashes, Checkpoint: strings.Replace(good.Checkpoint, "\n120\n", "\n121\n", 1)},
		"root changed":                 {Index: good.Index, Hashes: good.Hashes, Checkpoint: strings.Replace(good.Checkpoint, "\n120\n", "\n120\nA", 1)},
		"log changed":                  {Index: good.Index, Hashes: good.Hashes, Checkpoint: strings.Replace(good.Checkpoint, "/shop/", "/bank/", 1)},
		"no signature":                 {Index: good.Index, Hashes: good.Hashes, Checkpoint: unsigned},
		"leaf hash proven as its node": {Index: good.Index >> 1, Hashes: good.Hashes[1:], Checkpoint: good.Checkpoint},
	} {
		forge(what, *p, bare)
	}
	forge("another key", *good, bare, other.Public())
	if _, err := archive.VerifyProof(good, &bare); !errors.Is(err, leat.ErrCorrupt) {
		t.Errorf("no key: %v, want ErrCorrupt", err)
	}
	text := good.String()
	for range 2000 {
		i := rng.IntN(len(text))
		forged := text[:i] + string(text[i]^1) + text[i+1:]
		p, err := archive.ParseProof(forged)
		if err != nil {
			continue
		}
		e, err := p.Event()
		if err != nil {
			continue
		}
		if c, err := archive.VerifyProof(p, &e, key.Public()); err == nil {
			t.Fatalf("accepted with byte %d changed, of %+v:\n%s", i, c, forged)
		}
	}
}

// Whatever text is given as a proof, it is read to the byte or refused.
func FuzzParseProof(f *testing.F) {
	f.Add("c2sp.org/tlog-proof@v1\nextra bGVhdCBldmVudCAxCg==\nindex 0\ng807ZMy2XODutM8LCG9YpQL6R9cioBUlEYYn+unSQHA=\n\nleat/shop/shardId-000000000000\n2\n")
	f.Add("c2sp.org/tlog-proof@v1\nindex 18446744073709551615\n\n")
	f.Add("old 2\ng807ZMy2XODutM8LCG9YpQL6R9cioBUlEYYn+unSQHA=\n\nleat/shop/shardId-000000000000\n2\n\n— leat AAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := archive.ParseProof(text); err == nil {
			if p.String() != text {
				t.Errorf("%q was read as %q", text, p)
			}
			if e, err := p.Event(); err == nil {
				_, err := archive.VerifyProof(p, &e, testKey(t).Public())
				if err == nil && !strings.Contains(text, "— leat ") {
					t.Errorf("accepted without a signature: %q", text)
				}
			}
		}
		if p, err := archive.ParseConsistencyProof(text); err == nil && p.String() != text {
			t.Errorf("%q was read as %q", text, p)
		}
	})
}

func TestForgedConsistency(t *testing.T) {
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendSome(t, log, rng, 20)
		flush(t, a, log)
	}
	key, known := testKey(t), checkpoints(t, store, "shop", first)
	old := known[1+rng.IntN(len(known)-2)]
	p, err := openArchive(t, store, log).ProveConsistency(t.Context(), old, 0)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(p *archive.ConsistencyProof, c *archive.Checkpoint){
		"another root":       func(_ *archive.ConsistencyProof, c *archive.Checkpoint) { c.Root[3] ^= 1 },
		"another shard":      func(_ *archive.ConsistencyProof, c *archive.Checkpoint) { c.Shard = leat.ShardNumber(1) },
		"another log":        func(_ *archive.ConsistencyProof, c *archive.Checkpoint) { c.Log = "bank" },
		"another size":       func(_ *archive.ConsistencyProof, c *archive.Checkpoint) { c.Size++ },
		"both sizes":         func(p *archive.ConsistencyProof, c *archive.Checkpoint) { c.Size++; p.Old++ },
		"a hash less":        func(p *archive.ConsistencyProof, _ *archive.Checkpoint) { p.Hashes = p.Hashes[1:] },
		"earlier checkpoint": func(p *archive.ConsistencyProof, _ *archive.Checkpoint) { p.Checkpoint = known[0].Note },
		"an empty beginning": func(p *archive.ConsistencyProof, c *archive.Checkpoint) { p.Old, c.Size, p.Hashes = 0, 0, nil },
	} {
		forged, c := *p, *old
		change(&forged, &c)
		if _, err := archive.VerifyConsistency(&forged, &c, key.Public()); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
	}
}

func TestParseCheckpoints(t *testing.T) {
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	a := newArchiver(t, log, store)
	for range 3 {
		appendOne(t, log, "order-1")
		flush(t, a, log)
	}
	want := checkpoints(t, store, "shop", first)
	for _, between := range []string{"\n", "\n\n\n"} {
		var text []byte
		for _, c := range want {
			text = append(append(text, c.Note...), between...)
		}
		got, err := archive.ParseCheckpoints(text, testKey(t).Public())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", err, got, want)
		}
		if _, err := archive.ParseCheckpoints(text[1:], testKey(t).Public()); !errors.Is(err, leat.ErrCorrupt) {
			t.Errorf("cut at its beginning: %v, want ErrCorrupt", err)
		}
	}
}

// testdata/check_proof.cjs knows the proof, the event and the key, and none of
// our code.
func TestThirdPartyChecksAProof(t *testing.T) {
	node := findNode(t)
	if node == "" {
		t.Skip("needs node on the path")
	}
	rng := seeded(t)
	log, store := newLog(t, leat.Config{ID: "shop"}, nil), newMemoryStore()
	appendSome(t, log, rng, 100)
	flush(t, newArchiver(t, log, store), log)
	r := openArchive(t, store, log)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check := func(p *archive.Proof, e *leat.Recorded, key string) (string, error) {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(eventjson.FromRecorded(e)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), node, "testdata/check_proof.cjs",
			file("proof", []byte(p.String())), file("event", b.Bytes()), key).CombinedOutput()
		return string(out), err
	}
	key := testKey(t).Public()
	for range 8 {
		p, e, err := r.Prove(t.Context(), first, 1+rng.Uint64N(100), 0)
		if err != nil {
			t.Fatal(err)
		}
		p.Leaf = nil
		if out, err := check(p, &e, key); err != nil || !strings.Contains(out, "shop") {
			t.Fatalf("%v: %s\n%s%+v", err, out, p, e)
		}
		forged := forgeOne(rng, e)
		if out, err := check(p, &forged, key); err == nil {
			t.Fatalf("a forged event was accepted: %s\n%+v", out, forged)
		}
		other, err := archive.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := check(p, &e, other.Public()); err == nil {
			t.Fatalf("another key was accepted: %s", out)
		}
	}
}

func forgeOne(rng *rand.Rand, e leat.Recorded) leat.Recorded {
	switch rng.IntN(4) {
	case 0:
		e.Data, e.ContentType = append(slices.Clone(e.Data), 'x'), "text/plain"
	case 1:
		e.At = e.At.Add(time.Nanosecond)
	case 2:
		e.Version++
	default:
		e.Meta = e.Meta.With("k", base64.StdEncoding.EncodeToString([]byte{byte(rng.Uint32())}))
	}
	return e
}
