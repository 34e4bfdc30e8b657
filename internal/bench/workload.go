package bench

import (
	"fmt"
	"math"
	"strconv"

	"github.com/leathq/leat"
)

// A Workload says what producers append. Its bounds are those of [Workload.Check].
type Workload struct {
	Producers  int
	Pipeline   int     // Appends each producer has in flight
	Batch      int     // events of an Append
	Size       int     // bytes of Data
	Streams    Streams // which streams they append to
	IDs        IDs     // what the IDs look like
	Sources    int     // different Event.Source
	Conditions bool    // every Append expects the version that its stream has
	Rate       float64 // events per second of all producers; 0: as many as they can
	Stamp      bool    // Event.Time says when the producer made the event
}

// Lanes returns how many Appends are in flight at a time.
func (w *Workload) Lanes() int { return w.Producers * w.Pipeline }

// Streams says which streams are appended to: NewStreams, OneStream, or a number
// of streams among which each Append chooses at random. All events of an Append
// are of one stream.
type Streams int64

const (
	// NewStreams says that each Append begins a stream.
	NewStreams Streams = 0
	// OneStream is one for each Append in flight, so one a producer that has one
	// in flight.
	OneStream Streams = -1
)

// UnmarshalText reads new, one or a number.
func (s *Streams) UnmarshalText(text []byte) error {
	switch string(text) {
	case "new":
		*s = NewStreams
		return nil
	case "one":
		*s = OneStream
		return nil
	}
	n, err := ParseCount(string(text))
	if err != nil || n < 1 || n > mostStreams {
		return &leat.InvalidError{Field: "--streams", Limit: fmt.Sprintf("new, one or a number from 1 to %d", int64(mostStreams)), Got: strconv.Quote(string(text))}
	}
	*s = Streams(n)
	return nil
}

func (s Streams) String() string {
	switch s {
	case NewStreams:
		return "new"
	case OneStream:
		return "one"
	}
	return strconv.FormatInt(int64(s), 10)
}

// IDs is a kind of event ID.
type IDs string

// The kinds of event ID.
const (
	UUIDv7 IDs = "uuidv7" // milliseconds and random bits, so they grow with time
	UUIDv4 IDs = "uuidv4" // random bits
	TextID IDs = "text"   // such as command-000000000017
)

// Bounds of a Workload.
const (
	mostLanes   = 100_000
	mostStreams = 100_000_000
	mostSources = 10_000_000
)

// Check returns a [*leat.InvalidError], which names the flag of leat bench, when
// w cannot be appended to a log with the given limits.
func (w *Workload) Check(limits leat.Limits) error {
	lanes := w.Lanes()
	for _, c := range []struct {
		flag             string
		got, least, most int
	}{
		{"--producers", w.Producers, 1, mostLanes},
		{"--pipeline", w.Pipeline, 1, mostLanes},
		{"--producers times --pipeline", lanes, 1, mostLanes},
		{"--batch", w.Batch, 1, limits.AppendEvents},
		{"--size", w.Size, 0, limits.EventBytes - overhead},
		{"--batch times --size and the other fields", w.Batch * (w.Size + overhead), 0, limits.AppendBytes},
		{"--sources", w.Sources, 1, mostSources},
	} {
		if c.got < c.least || c.got > c.most {
			return &leat.InvalidError{Field: c.flag, Limit: fmt.Sprintf("%d to %d", c.least, c.most), Got: strconv.Itoa(c.got)}
		}
	}
	if w.Conditions && w.Streams > 0 && int64(w.Streams) < int64(lanes) {
		return &leat.InvalidError{
			Field: "--streams", Got: w.Streams.String(),
			Limit: fmt.Sprintf("at least %d (--producers times --pipeline) with conditions, so that each stream has one writer who knows its version; or give --no-conditions", lanes),
		}
	}
	if w.Rate < 0 || math.IsNaN(w.Rate) || math.IsInf(w.Rate, 0) {
		return &leat.InvalidError{Field: "--rate", Limit: "events per second, or 0 for no bound", Got: fmt.Sprint(w.Rate)}
	}
	return nil
}

// ParseCount reads a number such as 500, 10k, 2.5M or 1G.
func ParseCount(s string) (int64, error) {
	return parseScaled(s, []scale{{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}})
}

// ParseBytes reads a number of bytes such as 256, 64KiB, 64MiB or 1GB.
func ParseBytes(s string) (int64, error) {
	return parseScaled(s, []scale{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
	})
}

type scale struct {
	suffix string
	factor float64
}

func parseScaled(s string, scales []scale) (int64, error) {
	number, factor := s, 1.0
	for _, c := range scales {
		if len(s) > len(c.suffix) && s[len(s)-len(c.suffix):] == c.suffix {
			number, factor = s[:len(s)-len(c.suffix)], c.factor
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && factor == 1 {
		return n, nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || math.Abs(n*factor) > 1<<53 || n*factor != math.Trunc(n*factor) {
		return 0, fmt.Errorf("%q is no whole number", s)
	}
	return int64(n * factor), nil
}
