package bench

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/leathq/leat"
)

func testWorkload() Workload {
	return Workload{Producers: 2, Pipeline: 2, Batch: 5, Size: 256, IDs: UUIDv7, Sources: 3, Conditions: true}
}

// Every lane gets streams and IDs of its own, whatever the workload.
func TestGenerated(t *testing.T) {
	uuid := func(version int) *regexp.Regexp {
		return regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{8}-[0-9a-f]{4}-%d[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, version))
	}
	idForms := map[IDs]*regexp.Regexp{UUIDv7: uuid(7), UUIDv4: uuid(4), TextID: regexp.MustCompile(`^command-\d{12}$`)}
	for _, streams := range []Streams{NewStreams, OneStream, 4, 9, 3} {
		for kind, form := range idForms {
			t.Run(fmt.Sprintf("%v/%s", streams, kind), func(t *testing.T) {
				w := testWorkload()
				w.Streams, w.IDs = streams, kind
				w.Conditions = streams != 3 // fewer than lanes
				if err := w.Check(leat.MinLimits); err != nil {
					t.Fatal(err)
				}
				s := newSupply(&w)
				ids, versions := map[string]bool{}, map[string]uint64{}
				for lane := range w.Lanes() {
					g := newGenerator(&w, s, lane)
					for range 50 {
						events, conds := g.next(w.Batch)
						if _, err := leat.PrepareAppend(events, conds, leat.MinLimits, false); err != nil {
							t.Fatal(err)
						}
						stream := events[0].Stream
						if len(stream) != streamBytes || w.Conditions && conds[0] != leat.ExpectVersion(stream, versions[stream]) {
							t.Fatalf("stream %q at version %d is expected as %+v", stream, versions[stream], conds)
						}
						for _, e := range events {
							if !form.MatchString(e.ID) || ids[e.ID] {
								t.Errorf("ID %q: malformed, or given twice", e.ID)
							}
							ids[e.ID] = true
							if len(e.Data) != w.Size || !json.Valid(e.Data) || len(e.Meta) != 3 {
								t.Errorf("%d bytes of data and %d attributes, want %d bytes of JSON and 3: %s", len(e.Data), len(e.Meta), w.Size, e.Data)
							}
							if n := e.Size() - len(e.Data); n > overhead {
								t.Errorf("the fields other than data take %d bytes, taken to be %d at most", n, overhead)
							}
						}
						g.appended(w.Batch)
						versions[stream] += uint64(w.Batch)
					}
				}
				if want := map[Streams]int{NewStreams: 200, OneStream: 4, 4: 4, 9: 9, 3: 3}[streams]; len(versions) != want {
					t.Errorf("200 appends went to %d streams, want %d", len(versions), want)
				}
			})
		}
	}
}

// Two sets of producers never write the same stream, so that they can follow
// each other on one log.
func TestRunsAreApart(t *testing.T) {
	w := testWorkload()
	a, b := NewProducers(w, nil), NewProducers(w, nil)
	events, _ := a.crews[0][0].generator.next(1)
	if !a.Owns(events[0].Stream) || b.Owns(events[0].Stream) {
		t.Errorf("stream %s: owned by its producers %v, by others %v", events[0].Stream, a.Owns(events[0].Stream), b.Owns(events[0].Stream))
	}
}

func TestDataOfEverySize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	for size := range 2000 {
		data := orderJSON(rng, size)
		if len(data) != size || size > 0 && !json.Valid(data) {
			t.Fatalf("%d bytes asked for, got %d: %s", size, len(data), data)
		}
	}
}

// Data that compress to nothing, or not at all, would flatter or wrong a log
// that compresses.
func TestDataCompress(t *testing.T) {
	w := testWorkload()
	var plain, packed bytes.Buffer
	for _, d := range newSupply(&w).data[:64] {
		plain.Write(d)
	}
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(packed.Len()) / float64(plain.Len()); share < .33 || share > .6 {
		t.Errorf("64 events' data compress to %.2f of their size, want 0.33 to 0.6:\n%s", share, plain.Bytes()[:512])
	} else {
		t.Logf("compressed to %.2f", share)
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "500": 500, "10k": 10_000, "2.5M": 2_500_000, "1G": 1_000_000_000, "-3": -3} {
		if n, err := ParseCount(in); err != nil || n != want {
			t.Errorf("count %q is %d, %v, want %d", in, n, err, want)
		}
	}
	for in, want := range map[string]int64{"256": 256, "1KiB": 1024, "1.5KiB": 1536, "64MiB": 64 << 20, "1GB": 1_000_000_000, "7B": 7} {
		if n, err := ParseBytes(in); err != nil || n != want {
			t.Errorf("bytes %q are %d, %v, want %d", in, n, err, want)
		}
	}
	for _, in := range []string{"", "k", "1.5", "1x", "NaN", "NaNk", "1e300G", "0.0001k"} {
		if n, err := ParseCount(in); err == nil {
			t.Errorf("count %q is taken as %d", in, n)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for _, c := range []struct {
		batch   int
		streams Streams
	}{{1, NewStreams}, {500, OneStream}, {1, 5_000_000}} {
		b.Run(fmt.Sprintf("%d/%v", c.batch, c.streams), func(b *testing.B) {
			w := testWorkload()
			w.Batch, w.Streams = c.batch, c.streams
			g := newGenerator(&w, newSupply(&w), 0)
			b.ReportAllocs()
			for n := 0; n < b.N; n += c.batch {
				g.next(c.batch)
				g.appended(c.batch)
			}
		})
	}
}
