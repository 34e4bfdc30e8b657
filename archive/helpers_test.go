package archive_test

import (
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
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/internal/sample"
	"github.com/leathq/leat/leattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What archives are tested with.
var (
	appendSome = sample.Append
	awkward    = sample.Event
	normal     = sample.Normal
	readLog    = sample.Read
)

func newLog(t testing.TB, c leat.Config, clock func() time.Time) *leattest.Log {
	t.Helper()
	log, err := leattest.New(c, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
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
	k, err := sharedKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var sharedKey = sync.OnceValues(func() (*archive.Key, error) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := append([]byte{1}, private.Public().(ed25519.PublicKey)...) // 1: Ed25519
	hash := sha256.Sum256(append([]byte("leat\n"), public...))
	secret := append([]byte{1}, private.Seed()...)
	text := fmt.Sprintf("PRIVATE+KEY+leat+%x+%s\nleat+%x+%s\n", hash[:4], base64.StdEncoding.EncodeToString(secret),
		hash[:4], base64.StdEncoding.EncodeToString(public))
	dir, err := os.MkdirTemp("", "leat-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return archive.LoadKey(path)
})

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
	sample.Compare(t, a, shard, want)
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
