package archive_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// DuckDB reads every event, and the same bytes; testdata/duckdb.cjs checks the
// chain and all hashes on the way.
func TestDuckDBReadsTheArchive(t *testing.T) {
	library, node := os.Getenv("LEAT_DUCKDB"), findNode(t)
	if library == "" || node == "" {
		t.Skip("needs node on the path and LEAT_DUCKDB set to a directory in which `npm install @duckdb/node-api` was run")
	}
	log := newLog(t, leat.Config{ID: "a.log", Shards: leat.EvenShards(2)}, nil)
	appendSome(t, log, seeded(t), 3000)
	splitFirst(t, log)
	appendSome(t, log, seeded(t), 1000)
	folder := t.TempDir()
	store, err := archive.OpenStore("file://" + folder)
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.NewArchiver(log, store, archive.Config{Key: testKey(t), SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	flush(t, a, log)

	cmd := exec.CommandContext(t.Context(), node, "testdata/duckdb.cjs", folder, head(t, log).Log)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got found
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := whatIsThere(t, log)
	for shard, s := range got.Shards {
		s.Segments = 0
		got.Shards[shard] = s
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("DuckDB found\n%+v, the log holds\n%+v", got, want)
	}
}

func findNode(t *testing.T) string {
	node, err := exec.LookPath("node")
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		t.Fatal(err)
	}
	return node
}

// found is what testdata/duckdb.cjs prints.
type found struct {
	Events    int                        `json:"events"`
	DataBytes int                        `json:"data_bytes"`
	Shards    map[leat.ShardID]shardData `json:"shards"`
}

type shardData struct {
	Events    int    `json:"events"`
	DataBytes int    `json:"data_bytes"`
	Segments  int    `json:"segments"`
	SHA256    string `json:"data_sha256"` // of all data in order
}

// whatIsThere computes the same from the log.
func whatIsThere(t *testing.T, log leat.Log) found {
	t.Helper()
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := found{Shards: make(map[leat.ShardID]shardData)}
	for _, s := range shards {
		hash, d := sha256.New(), shardData{}
		for _, e := range readLog(t, log, s.ID) {
			hash.Write(e.Data)
			d.Events++
			d.DataBytes += len(e.Data)
		}
		d.SHA256 = hex.EncodeToString(hash.Sum(nil))
		f.Shards[s.ID] = d
		f.Events += d.Events
		f.DataBytes += d.DataBytes
	}
	return f
}
