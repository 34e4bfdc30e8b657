package archive_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// DuckDB reads every event, and the same bytes; testdata/duckdb.cjs checks the
// chain and all hashes on the way.
func TestDuckDBReadsTheArchive(t *testing.T) {
	needsDuckDB(t)
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

	var got found
	runDuckDB(t, &got, nil, "testdata/duckdb.cjs", folder, head(t, log).Log)
	want := whatIsThere(t, log)
	for shard, s := range got.Shards {
		s.Segments = 0
		got.Shards[shard] = s
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("DuckDB found\n%+v, the log holds\n%+v", got, want)
	}
}

// needsDuckDB skips the test where DuckDB is not installed.
func needsDuckDB(t *testing.T) {
	t.Helper()
	if findNode(t) == "" || os.Getenv("LEAT_DUCKDB") == "" {
		t.Skip("needs node on the path and LEAT_DUCKDB set to a directory in which `npm install @duckdb/node-api` was run")
	}
}

// runDuckDB runs a script with in as its input and reads its output, both as JSON.
func runDuckDB(t *testing.T, out, in any, script ...string) {
	t.Helper()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), findNode(t), script...)
	cmd.Stdin = bytes.NewReader(input)
	output, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(output, out); err != nil {
		t.Fatalf("%v in %s", err, output)
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

// The queries of docs/format-archive.md answer what Leat answers, from segments,
// from compacted files, and from both together.
func TestDuckDBAnswersLikeLeat(t *testing.T) {
	needsDuckDB(t)
	folder := t.TempDir()
	a := ordersOfSomeDays(t, openStore(t, folder))
	statements := duckDBStatements(t, "/var/archive/shop/", folder+"/shop/")
	var results [][][]string
	runDuckDB(t, &results, append(statements, "SELECT shard, covered FROM catalogs"), "testdata/duckdb_queries.cjs")

	covered := make(map[leat.ShardID]string)
	for _, row := range results[len(statements)] {
		covered[leat.ShardID(row[0])] = row[1]
	}
	all := answersOf(t, a, func(leat.Recorded) bool { return true })
	compacted := answersOf(t, a, func(e leat.Recorded) bool {
		last, err := strconv.ParseUint(cmp.Or(covered[e.Shard], "0"), 10, 64)
		return err == nil && e.Seq <= last
	})
	if len(compacted.stream) == 0 || len(compacted.stream) == len(all.stream) {
		t.Fatalf("%d events of the stream are compacted of %d, want some and not all", len(compacted.stream), len(all.stream))
	}
	events := fmt.Sprint(all.events)
	want := [][][]string{
		all.byType(), all.stream, all.totals(),
		withoutLast(compacted.stream), compacted.totals(),
		{{events, events}}, withoutLast(all.stream), all.totals(),
	}
	var got [][][]string
	for i, s := range statements {
		if strings.HasPrefix(s, "SELECT") {
			got = append(got, results[i])
		}
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("query %d of the page returns other rows than Leat:\n%v, want\n%v", i+1, got[i:], want[i:])
		}
	}
}

// ordersOfSomeDays archives orders of a week in two months, with other events
// between them and a split, and compacts the days that are over.
func ordersOfSomeDays(t *testing.T, store archive.Store) *archive.Archive {
	t.Helper()
	rng, now := seeded(t), time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	log := newLog(t, leat.Config{ID: "shop", Shards: leat.EvenShards(2)}, func() time.Time { return now })
	record := func(events ...leat.Event) {
		t.Helper()
		if _, err := log.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	a := newArchiver(t, log, store)
	for i := range 10 {
		for n := range 40 {
			name := duckDBStream
			if n > 1 {
				name = fmt.Sprintf("order-%d", rng.IntN(60))
			}
			record(
				leat.Event{
					Stream: name, Type: "OrderPlaced", Source: "orders", Data: fmt.Appendf(nil, `{"total":%d}`, rng.Int64N(1e12)),
					Meta: leat.NewMeta("correlationid", fmt.Sprint(n)),
				},
				leat.Event{Stream: name, Type: "OrderConfirmed", Source: "orders", Data: []byte(`{"note":"größer, \"x\""}`)})
			other := awkward(rng, "note-1")
			other.Type = "Noted" // not all of these are JSON
			record(other)
		}
		if i == 4 {
			splitFirst(t, log)
		}
		flush(t, a, log)
		now = now.Add(17 * time.Hour) // days begin and end inside of segments
	}
	archived := openArchive(t, store, log)
	if _, err := archived.Compact(t.Context(), archive.CompactOptions{Key: testKey(t)}); err != nil {
		t.Fatal(err)
	}
	return archived
}

// duckDBStream is the stream that the page looks for.
const duckDBStream = "order-536365"

// duckDBStatements returns the statements of the page on the format, for an archive
// in another place.
func duckDBStatements(t *testing.T, place, where string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/format-archive.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## DuckDB\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var statements []string
	for _, part := range strings.Split(section, "```") {
		sql, ok := strings.CutPrefix(part, "sql\n")
		if !ok {
			continue
		}
		for s := range strings.SplitSeq(strings.ReplaceAll(sql, place, where), ";\n") {
			if s = strings.TrimSpace(s); s != "" {
				statements = append(statements, s)
			}
		}
	}
	return statements
}

// answers are what Leat says to the queries of the page.
type answers struct {
	events int
	types  map[string]*typeAnswer
	stream [][]string
	orders int
	total  int64
}

type typeAnswer struct {
	events   int
	min, max time.Time
}

// answersOf reads the events that are wanted from an archive.
func answersOf(t *testing.T, a *archive.Archive, wanted func(leat.Recorded) bool) answers {
	t.Helper()
	found := answers{types: make(map[string]*typeAnswer)}
	shards, err := a.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		for e, err := range a.Events(t.Context(), s.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if wanted(e) {
				found.add(t, e)
			}
		}
	}
	for e, err := range a.Stream(t.Context(), duckDBStream, leat.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		if wanted(e) {
			found.stream = append(found.stream, []string{fmt.Sprint(e.Version), e.Type, duckDBTime(e.Time), string(e.Data), e.Meta.Get("correlationid")})
		}
	}
	return found
}

func (a *answers) add(t *testing.T, e leat.Recorded) {
	t.Helper()
	a.events++
	s := a.types[e.Type]
	if s == nil {
		s = &typeAnswer{min: e.At, max: e.At}
		a.types[e.Type] = s
	}
	s.events++
	s.min, s.max = slices.MinFunc([]time.Time{s.min, e.At}, time.Time.Compare), slices.MaxFunc([]time.Time{s.max, e.At}, time.Time.Compare)
	if e.Type != "OrderPlaced" {
		return
	}
	var order struct{ Total int64 }
	if err := json.Unmarshal(e.Data, &order); err != nil {
		t.Fatal(err)
	}
	a.orders++
	a.total += order.Total
}

func (a *answers) byType() [][]string {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(a.types)) {
		s := a.types[name]
		rows = append(rows, []string{name, fmt.Sprint(s.events), duckDBTime(s.min), duckDBTime(s.max)})
	}
	return rows
}

func (a *answers) totals() [][]string {
	return [][]string{{fmt.Sprint(a.orders), fmt.Sprint(a.total)}}
}

// withoutLast leaves out the last column.
func withoutLast(rows [][]string) [][]string {
	var short [][]string
	for _, r := range rows {
		short = append(short, r[:len(r)-1])
	}
	return short
}

// duckDBTime returns a time as DuckDB prints it.
func duckDBTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999+00") }
