package archive_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything selects all events, the system's included.
var everything = leat.Filter{System: true}

func newLog(t testing.TB, c leat.Config, clock func() time.Time) *leattest.Log {
	t.Helper()
	log, err := leattest.New(c, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// appendSome appends n events with awkward contents in Appends of 1 to 5.
func appendSome(t testing.TB, log leat.Log, rng *rand.Rand, n int) {
	t.Helper()
	for n > 0 {
		k := min(n, 1+rng.IntN(5))
		n -= k
		tag := rng.IntN(40)
		events := make([]leat.Event, k)
		for i := range events {
			events[i] = awkward(rng, fmt.Sprintf("order-{c%d}-%d", tag, rng.IntN(3)))
		}
		if _, err := log.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
}

// awkward returns an event with what tends to get lost on the way.
func awkward(rng *rand.Rand, stream string) leat.Event {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	e := leat.Event{
		Stream: stream, Type: pick("OrderPlaced", "Zeile\nzwei", "\"',;", "日本語"), Source: pick("orders", "billing"),
		ContentType: pick("", "application/octet-stream", "text/plain; charset=utf-8"),
	}
	switch rng.IntN(5) {
	case 0: // none
	case 1:
		e.Data = []byte{0, 0xff, 0, 0xfe, '\n'}
	case 2:
		e.Data = bytes.Repeat([]byte(`{"price":1.10}`), rng.IntN(2000))
	default:
		e.Data = fmt.Appendf(nil, `{"order":%d,"note":"%s"}`, rng.IntN(1e6), strings.Repeat("x", rng.IntN(100)))
	}
	for i := range rng.IntN(4) {
		e.Meta = e.Meta.With(fmt.Sprintf("k%d", i), pick("", "0", "a=b\x00c", "größer"))
	}
	switch rng.IntN(4) {
	case 0: // the log's clock
	case 1:
		e.Time = time.Unix(0, -1<<63).UTC()
	case 2:
		e.Time = time.Unix(0, 1<<63-1).UTC()
	default:
		e.Time = time.Date(2010, 12, 1, 8, 26, 0, rng.IntN(1e9), time.FixedZone("", 3600))
	}
	return e
}

// normal returns an event as a log and its archive must agree on it: nil and
// empty Data or Meta are the same.
func normal(e leat.Recorded) leat.Recorded {
	if len(e.Data) == 0 {
		e.Data = nil
	}
	if len(e.Meta) == 0 {
		e.Meta = nil
	}
	return e
}

// readLog returns all events of a shard of a log.
func readLog(t testing.TB, log leat.Log, shard leat.ShardID) []leat.Recorded {
	t.Helper()
	var events []leat.Recorded
	after := uint64(0)
	for {
		b, err := log.ReadShard(t.Context(), shard, after, leat.ReadOptions{Filter: everything})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, b.Events...)
		if b.Next == b.Head {
			return events
		}
		after = b.Next
	}
}

// openArchive opens what is archived of a log.
func openArchive(t testing.TB, store archive.Store, log leat.Log) *archive.Archive {
	t.Helper()
	info, err := log.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(t.Context(), store, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// head returns the end of a log.
func head(t testing.TB, log leat.Log) leat.Checkpoint {
	t.Helper()
	c, err := leat.Start(t.Context(), log, leat.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newArchiver returns an archiver that cuts small segments.
func newArchiver(t testing.TB, log leat.Log, store archive.Store) *archive.Archiver {
	t.Helper()
	a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// testKey returns the key of all tests.
func testKey(t testing.TB) *archive.Key {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := append([]byte{1}, private.Public().(ed25519.PublicKey)...) // 1: Ed25519
	hash := sha256.Sum256(append([]byte("leat\n"), public...))
	secret := append([]byte{1}, private.Seed()...)
	path := filepath.Join(t.TempDir(), "key")
	text := fmt.Sprintf("PRIVATE+KEY+leat+%x+%s\nleat+%x+%s\n", hash[:4], base64.StdEncoding.EncodeToString(secret),
		hash[:4], base64.StdEncoding.EncodeToString(public))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := archive.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func flush(t testing.TB, a *archive.Archiver, log leat.Log) {
	t.Helper()
	if err := a.Flush(t.Context(), head(t, log)); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// audit checks that the archive holds exactly what the log does, and that its
// segments end where Appends end.
func audit(t testing.TB, store archive.Store, log leat.Log) {
	t.Helper()
	for shard, want := range auditEnd(t, store, log) {
		auditShard(t, openArchive(t, store, log), store, shard, want)
	}
}

// auditEnd checks that the archive ends where the log does, without reading
// segments, and returns what they must hold.
func auditEnd(t testing.TB, store archive.Store, log leat.Log) map[leat.ShardID][]leat.Recorded {
	t.Helper()
	a := openArchive(t, store, log)
	got, err := a.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := head(t, log); !got.Equal(want) {
		t.Fatalf("the archive ends at %s, want the log's head %s", got, want)
	}
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archived, err := a.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[leat.ShardID][]leat.Recorded)
	for i, s := range shards {
		s.Oldest, s.Parents = 1, append([]leat.ShardID{}, s.Parents...)
		if i >= len(archived) || !reflect.DeepEqual(archived[i], s) {
			t.Fatalf("archived shards\n%+v, want\n%+v", archived, shards)
		}
		want[s.ID] = readLog(t, log, s.ID)
	}
	return want
}

func auditShard(t testing.TB, a *archive.Archive, store archive.Store, shard leat.ShardID, want []leat.Recorded) {
	t.Helper()
	i := 0
	for e, err := range a.Events(t.Context(), shard, 0) {
		if err != nil {
			t.Fatalf("%s after %d events: %v", shard, i, err)
		}
		if i >= len(want) {
			t.Fatalf("%s: sequence %d is archived, the log ends at %d", shard, e.Seq, len(want))
		}
		if e, w := normal(e), normal(want[i]); !reflect.DeepEqual(e, w) {
			t.Fatalf("%s: archived\n%+v, want\n%+v", shard, e, w)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%s: %d events archived, want %d", shard, i, len(want))
	}
	for _, m := range manifests(t, store, a.Log(), shard) {
		if m.Segment == nil {
			continue
		}
		if first := want[m.Segment.First-1]; first.Commit != first.Seq {
			t.Errorf("%s: a segment begins inside an append, at %d", shard, first.Seq)
		}
	}
}

// A manifest is what a third party reads of one.
type manifest struct {
	Kind       string
	Previous   string
	Checkpoint string
	Segment    *struct {
		Object      string
		SHA256      string
		First, Last uint64
	}
}

func manifests(t testing.TB, store archive.Store, log string, shard leat.ShardID) []manifest {
	t.Helper()
	var all []manifest
	folder := fmt.Sprintf("%s/manifests/%s/", log, shard)
	for name, err := range store.List(t.Context(), folder, "") {
		if err != nil {
			t.Fatal(err)
		}
		data, err := store.Get(t.Context(), folder+name)
		if err != nil {
			t.Fatal(err)
		}
		var m manifest
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, m)
	}
	return all
}

// objects returns all objects below a folder.
func objects(t testing.TB, store archive.Store, folder string) []string {
	t.Helper()
	var all []string
	for name, err := range store.List(t.Context(), folder, "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			all = append(all, objects(t, store, folder+name)...)
		} else {
			all = append(all, folder+name)
		}
	}
	return all
}

// seeded returns a source of randomness whose seed a failing test prints.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
