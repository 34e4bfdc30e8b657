package bench

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/leathq/leat"
)

const (
	streamBytes = 20
	// overhead is what the fields other than Data take at most.
	overhead = 256
)

// types are the Event.Type of what is appended.
var types = [...]string{"OrderPlaced", "OrderConfirmed", "OrderShipped", "InvoiceIssued"}

// A supply is what was made before the measured part, for all generators to
// take from.
type supply struct {
	run     string // six characters in the name of every stream
	data    [][]byte
	meta    []leat.Meta
	sources []string
}

const (
	supplyEvents = 4096    // different Data and Meta, at most
	supplyBytes  = 8 << 20 // of Data, unless that is fewer than supplyLeast
	supplyLeast  = 32
)

func newSupply(w *Workload) *supply {
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // nothing secret depends on it
	s := &supply{run: string(base32(nil, rng.Uint64(), 6))}
	for range min(supplyEvents, max(supplyLeast, supplyBytes/max(1, w.Size))) {
		s.data = append(s.data, orderJSON(rng, w.Size))
	}
	for range supplyEvents {
		s.meta = append(s.meta, leat.Meta{
			{Key: leat.MetaCausation, Value: string(uuid(nil, 4, rng.Uint64(), rng.Uint64()))},
			{Key: leat.MetaCorrelation, Value: string(uuid(nil, 4, rng.Uint64(), rng.Uint64()))},
			{Key: "tenant", Value: "tenant-" + strconv.Itoa(rng.IntN(100))},
		})
	}
	for i := range w.Sources {
		s.sources = append(s.sources, "source-"+strconv.Itoa(i))
	}
	return s
}

// A generator makes the events of one lane: what one goroutine appends, one
// Append after the other. Its streams are written by nobody else, unless they
// are fewer than lanes.
type generator struct {
	w           *Workload
	supply      *supply
	rng         *rand.PCG
	lane, lanes uint64
	appends     uint64 // made so far
	events      uint64 // made so far

	// The lane's streams are numbered first, first + step, first + 2 step …
	// Their versions are kept where they are not all new.
	first, step uint64
	versions    []uint32
	chosen      int // index in versions of the stream last appended to

	buffer []leat.Event
	text   []byte
	conds  [1]leat.Condition
}

func newGenerator(w *Workload, s *supply, lane int) *generator {
	g := &generator{
		w: w, supply: s, lane: uint64(lane), lanes: uint64(w.Lanes()),
		rng: rand.NewPCG(rand.Uint64(), rand.Uint64()), buffer: make([]leat.Event, w.Batch),
	}
	g.first, g.step = g.lane, g.lanes
	switch {
	case w.Streams == OneStream:
		g.versions = make([]uint32, 1)
	case w.Streams > 0:
		streams := uint64(w.Streams)
		g.first %= streams // shared with other lanes when there are more of them
		g.versions = make([]uint32, (streams-g.first+g.step-1)/g.step)
	}
	return g
}

// next returns the n events of the next Append and its conditions. They are
// overwritten by the call after.
func (g *generator) next(n int) ([]leat.Event, []leat.Condition) {
	number, version := g.stream()
	stream := g.streamName(number)
	source := g.supply.sources[number%uint64(len(g.supply.sources))]
	ids := g.ids(n)
	var stamp time.Time
	if g.w.Stamp {
		stamp = time.Now()
	}
	events := g.buffer[:n]
	width := len(ids) / n
	for i := range events {
		r := g.rng.Uint64()
		events[i] = leat.Event{
			ID: ids[i*width : (i+1)*width], Stream: stream, Type: types[r%uint64(len(types))], Source: source, Time: stamp,
			Data: g.supply.data[r>>16%uint64(len(g.supply.data))],
			Meta: g.supply.meta[r>>40%uint64(len(g.supply.meta))],
		}
	}
	g.appends++
	g.events += uint64(n)
	if !g.w.Conditions {
		return events, nil
	}
	g.conds[0] = leat.ExpectVersion(stream, uint64(version))
	return events, g.conds[:]
}

// stream chooses the stream of the next Append: its number and version.
func (g *generator) stream() (number uint64, version uint32) {
	if g.versions == nil {
		return g.first + g.appends*g.step, 0
	}
	g.chosen = int(g.rng.Uint64() % uint64(len(g.versions)))
	return g.first + uint64(g.chosen)*g.step, g.versions[g.chosen]
}

// appended tells that the n events of the last call of next are recorded.
func (g *generator) appended(n int) {
	if g.versions != nil {
		g.versions[g.chosen] += uint32(n)
	}
}

// streamName returns the name of a stream by its number: names of one run do not
// come in order, as those of customers or baskets do not.
func (g *generator) streamName(number uint64) string {
	const bits, odd = 40, 0x9e3779b97f4a7c15 // any odd factor makes it one to one
	text := g.text[:0]
	text = append(text, "order-"...)
	text = append(text, g.supply.run...)
	text = base32(text, number*odd&(1<<bits-1), streamBytes-len(text))
	g.text = text
	return string(text)
}

// ids returns n IDs of one length in one string, so that they cost one
// allocation.
func (g *generator) ids(n int) string {
	text := g.text[:0]
	switch g.w.IDs {
	case TextID:
		for i := range uint64(n) {
			text = append(text, "command-"...)
			text = digits(text, (g.events+i)*g.lanes+g.lane, 12)
		}
	case UUIDv4:
		for range n {
			text = uuid(text, 4, g.rng.Uint64(), g.rng.Uint64())
		}
	default:
		ms := uint64(time.Now().UnixMilli()) << 16
		for range n {
			r := g.rng.Uint64()
			text = uuid(text, 7, ms|r>>48, g.rng.Uint64())
		}
	}
	g.text = text
	return string(text)
}

// uuid appends the canonical text of a UUID of a version with the given bits.
func uuid(text []byte, version, high, low uint64) []byte {
	high = high&^0xf000 | version<<12
	low = low&^(3<<62) | 2<<62
	at := len(text)
	text = append(text, "00000000-0000-0000-0000-000000000000"...)
	u := text[at:]
	hexDigits(u[0:8], high>>32)
	hexDigits(u[9:13], high>>16)
	hexDigits(u[14:18], high)
	hexDigits(u[19:23], low>>48)
	hexDigits(u[24:36], low)
	return text
}

// hexDigits fills text, an even number of bytes, with the last digits of v.
func hexDigits(text []byte, v uint64) {
	for i := len(text) - 2; i >= 0; i -= 2 {
		pair := hexPairs[v&0xff]
		text[i], text[i+1] = pair[0], pair[1]
		v >>= 8
	}
}

var hexPairs = func() (pairs [256][2]byte) {
	for i := range pairs {
		hex.Encode(pairs[i][:], []byte{byte(i)})
	}
	return pairs
}()

// base32 appends the lowest 5 n bits of v in n characters.
func base32(text []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		text = append(text, "0123456789abcdefghjkmnpqrstvwxyz"[v>>(5*i)&31])
	}
	return text
}

// digits appends the last n decimal digits of v.
func digits(text []byte, v uint64, n int) []byte {
	at := len(text)
	for range n {
		text = append(text, '0')
	}
	for i := at + n - 1; i >= at; i-- {
		text[i] = '0' + byte(v%10)
		v /= 10
	}
	return text
}

// orderJSON returns an order as JSON text of exactly the given size, as far as
// JSON can be that short. Many of them together compress to about two fifths
// (deflate), as records full of keys and numbers do.
func orderJSON(rng *rand.Rand, size int) []byte {
	const closing = `"}`
	text := []byte(`{"order":"`)
	text = append(base32(text, rng.Uint64(), 10), `","customer":`...)
	text = strconv.AppendUint(text, rng.Uint64N(100_000), 10)
	text = append(text, `,"currency":"GBP","lines":[`...)
	for i := 0; ; i++ {
		line := orderLine(rng, i > 0)
		if len(text)+len(line)+32 > size*9/10 {
			break
		}
		text = append(text, line...)
	}
	text = append(text, `],"note":"`...)
	if len(text)+len(closing) > size {
		return shortJSON(rng, size)
	}
	for len(text)+len(closing) < size {
		text = append(text, words[rng.IntN(len(words))]...)
		text = append(text, ' ')
		text = append(base32(text, rng.Uint64(), 8), ' ')
	}
	return append(text[:size-len(closing)], closing...)
}

func orderLine(rng *rand.Rand, comma bool) []byte {
	var line []byte
	if comma {
		line = append(line, ',')
	}
	line = append(line, `{"sku":"`...)
	line = base32(line, rng.Uint64(), 6)
	line = append(line, `","quantity":`...)
	line = strconv.AppendUint(line, 1+rng.Uint64N(48), 10)
	line = append(line, `,"pence":`...)
	line = strconv.AppendUint(line, 1+rng.Uint64N(10_000), 10)
	line = append(line, `,"batch":"`...)
	return append(base32(line, rng.Uint64(), 12), `"}`...)
}

// shortJSON returns a JSON number, or nothing, of a size.
func shortJSON(rng *rand.Rand, size int) []byte {
	text := make([]byte, size)
	for i := range text {
		text[i] = '1' + byte(rng.IntN(9))
	}
	return text
}

var words = [...]string{
	"please", "leave", "with", "the", "neighbour", "at", "number", "seven", "ring", "twice", "gift", "wrapped", "fragile",
	"before", "noon", "after", "work", "side", "door", "call", "ahead", "no", "invoice", "inside", "thank", "you",
}
