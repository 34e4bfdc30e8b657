package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
)

// historiesThatFailed are seeds of TestLinearizable that once found a mistake.
var historiesThatFailed = []uint64{}

// TestLinearizable records what concurrent clients asked of a log and were
// answered, across power cuts, and has porcupine find an order in which a log
// that does one thing at a time would have answered the same.
func TestLinearizable(t *testing.T) {
	var done, operations atomic.Int64
	campaign(t, historiesThatFailed, func(seed uint64) (bool, error) {
		h := &history{rng: seeded(seed)}
		err := h.record(t.Context())
		if err == nil {
			operations.Add(int64(len(h.operations)))
			err = h.check()
		}
		return done.Add(1) >= int64(*histories), err
	})
	t.Logf("checked %d histories of %d operations", done.Load(), operations.Load())
}

// A request is what a client asks, about the two streams of one route key.
type request struct {
	client int
	key    string
	read   string // of the stream: all of it, or its "last"; both streams in their "shard"; empty for an Append
	stream int    // that is read
	events []token
	conds  []leat.Condition
	expect [2]int // of each condition, the stream; -1 when there is none
}

// A token stands for an event: its place among the two streams, its ID, and
// whether it is sent with other content than the first time.
type token struct {
	stream int
	id     string
	other  bool
}

func (k token) String() string {
	if k.other {
		return k.id + "!"
	}
	return k.id
}

// An answer is what a client got. Only what the request is about is set.
type answer struct {
	kind     string // "recorded", "duplicate", "partial", "reused", "conflict", "read"; "nothing" or "unknown" of what was given up
	versions []uint64
	known    []int
	actual   uint64
	events   state
}

// A state is what a log of one thing at a time holds of a route key: of each
// stream the IDs, each followed by a blank.
type state [2]string

func (s state) version(stream int) uint64 { return uint64(strings.Count(s[stream], " ")) }

// find returns the version of an ID, 0 when it is not there, and whether it was
// recorded with other content.
func (s state) find(k token) (version uint64, other bool) {
	for i, recorded := range strings.Fields(s[k.stream]) {
		if id, other := strings.CutSuffix(recorded, "!"); id == k.id {
			return uint64(i + 1), other
		}
	}
	return 0, false
}

// append returns the answer to an Append, and the state after it.
func (s state) append(r *request) (answer, state) {
	var a answer
	for i, k := range r.events {
		v, other := s.find(k)
		switch {
		case v == 0:
			continue
		case other != k.other:
			return answer{kind: "reused", known: []int{i}}, s
		}
		a.known, a.versions = append(a.known, i), append(a.versions, v)
	}
	switch len(a.known) {
	case 0:
	case len(r.events):
		return answer{kind: "duplicate", versions: a.versions}, s
	default:
		return answer{kind: "partial", known: a.known}, s
	}
	for i, c := range r.conds {
		if v := s.version(r.expect[i]); c.Check(v) != nil {
			return answer{kind: "conflict", actual: v}, s
		}
	}
	a.kind = "recorded"
	for _, k := range r.events {
		s[k.stream] += k.String() + " "
		a.versions = append(a.versions, s.version(k.stream))
	}
	return a, s
}

// next returns the states after a request that was answered so, none when it
// cannot have been.
func (s state) next(r *request, a *answer) []any {
	switch {
	case a.kind == "nothing":
		return []any{s}
	case r.read == "shard":
		return statesIf(s == a.events, s)
	case r.read == "all":
		return statesIf(s[r.stream] == a.events[r.stream], s)
	case r.read == "last":
		return statesIf(s.version(r.stream) == a.actual, s)
	}
	want, after := s.append(r)
	if a.kind == "unknown" {
		return []any{s, after}
	}
	return statesIf(reflect.DeepEqual(want, *a), after)
}

func statesIf(possible bool, s state) []any {
	if !possible {
		return nil
	}
	return []any{s}
}

var oneAtATime = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, o := range history {
			key := o.Input.(*request).key
			byKey[key] = append(byKey[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init:  func() []any { return []any{state{}} },
	Step:  func(s, in, out any) []any { return s.(state).next(in.(*request), out.(*answer)) },
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		r, a := in.(*request), out.(*answer)
		if r.read != "" {
			return fmt.Sprintf("read %s %d: %+v", r.read, r.stream, *a)
		}
		return fmt.Sprintf("append %v if %+v: %+v", r.events, r.conds, *a)
	},
	DescribeState: func(s any) string { return fmt.Sprintf("%q", s) },
}).ToModel()

// A history is what clients and a log did, in the time of a counter.
type history struct {
	rng *rand.Rand
	now atomic.Int64

	mu         sync.Mutex
	operations []porcupine.Operation
	sent       map[string][]*request // appends, by key
	n          int
	split      bool
}

const (
	linearClients = 4
	linearKeys    = 4
)

// record lets clients loose on a log whose power is cut a few times.
func (h *history) record(ctx context.Context) error {
	h.sent = make(map[string][]*request)
	fs := newDisk()
	log, err := engine.Create("log", leat.Config{Shards: leat.EvenShards(1 + h.rng.IntN(2))}, campaignOptions(fs))
	for lives := 1 + h.rng.IntN(4); err == nil && lives > 0; lives-- {
		var after *vfs.MemFS
		after, err = h.live(ctx, log, fs)
		if err != nil {
			return err
		}
		fs = diskOn(after)
		log, err = engine.Open("log", campaignOptions(fs))
	}
	if err != nil {
		return err
	}
	return errors.Join(h.readAll(ctx, log), log.Close())
}

// readAll reads every stream, when all is done.
func (h *history) readAll(ctx context.Context, log *engine.Log) error {
	for key := range linearKeys {
		for stream := range 2 {
			r := &request{key: fmt.Sprint("k", key), read: "all", stream: stream}
			if err := h.do(ctx, log, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// live records until the power is cut, and returns the disk that is left.
func (h *history) live(ctx context.Context, log *engine.Log, fs *disk) (*vfs.MemFS, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := len(h.operations)
	left := atomic.Int64{}
	left.Store(10 + h.rng.Int64N(80))
	percent, seed := []int{0, 50, 100}[h.rng.IntN(3)], h.rng.Uint64()
	var after *vfs.MemFS
	var before, end int64
	fs.watch(func(op errorfs.Op) error {
		if changes(op) && left.Add(-1) == 0 {
			before = h.now.Add(1)
			after = fs.cut(percent, seeded(seed))
			end = h.now.Add(1)
			cancel()
		}
		return nil
	})
	var wg sync.WaitGroup
	errs := make([]error, linearClients+1)
	for c := range linearClients {
		rng := seeded(h.rng.Uint64())
		wg.Go(func() {
			for ctx.Err() == nil && errs[c] == nil {
				errs[c] = h.do(ctx, log, h.draw(rng, c))
			}
		})
	}
	if h.rng.IntN(3) == 0 {
		wg.Go(func() { errs[linearClients] = h.splitFirst(ctx, log) })
	}
	wg.Wait()
	fs.leave()
	h.endLife(begun, before, end)
	return after, errors.Join(errors.Join(errs...), log.Close())
}

func (h *history) splitFirst(ctx context.Context, log *engine.Log) error {
	h.mu.Lock()
	done := h.split
	h.split = true
	h.mu.Unlock()
	if done {
		return nil
	}
	shards, err := log.Shards(ctx)
	if err == nil {
		_, err = log.Split(ctx, shards[0].ID, shards[0].Middle())
	}
	if ctx.Err() != nil || errors.Is(err, leat.ErrInvalid) {
		return nil //nolint:nilerr // the power was cut
	}
	return err
}

// endLife rewrites the operations since some place as a power cut between two
// moments leaves them: of what was not answered before, nobody knows; what began
// after never was. What was given up may have been recorded until the end.
func (h *history) endLife(begun int, before, end int64) {
	kept := h.operations[:begun]
	for _, o := range h.operations[begun:] {
		r, a := o.Input.(*request), o.Output.(*answer)
		switch {
		case o.Call > end, r.read != "" && o.Return > before:
			continue
		case a.kind == "unknown" || o.Return > before:
			o.Output, o.Return = &answer{kind: "unknown"}, end
		}
		kept = append(kept, o)
	}
	h.operations = kept
}

// draw draws what a client asks next.
func (h *history) draw(rng *rand.Rand, client int) *request {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &request{client: client, key: fmt.Sprint("k", rng.IntN(linearKeys)), stream: rng.IntN(2)}
	sent := h.sent[r.key]
	switch k := rng.IntN(10); {
	case k == 0:
		r.read = "all"
		return r
	case k == 1:
		r.read = "last"
		return r
	case k == 2 && !h.split:
		r.read = "shard"
		return r
	case k < 5 && len(sent) > 0:
		r.events = slices.Clone(sent[len(sent)-1-rng.IntN(min(4, len(sent)))].events)
		if rng.IntN(4) == 0 {
			r.events[rng.IntN(len(r.events))].other = true
		}
		if rng.IntN(3) == 0 {
			r.events = append(r.events, h.token(rng, r.stream))
		}
	default:
		for range 1 + rng.IntN(3) {
			r.events = append(r.events, h.token(rng, rng.IntN(2)))
		}
		h.sent[r.key] = append(sent, r)
	}
	for i := range rng.IntN(3) {
		stream := rng.IntN(2)
		name := r.streamName(stream)
		r.expect[i] = stream
		r.conds = append(r.conds, []leat.Condition{
			leat.ExpectNew(name), leat.ExpectExists(name), leat.ExpectVersion(name, rng.Uint64N(6)), leat.ExpectVersion(name, rng.Uint64N(30)),
		}[rng.IntN(4)])
	}
	return r
}

func (h *history) token(rng *rand.Rand, stream int) token {
	h.n++
	return token{stream: stream, id: drawID(rng, fmt.Sprint("id-", h.n))}
}

func (r *request) streamName(stream int) string { return fmt.Sprintf("s%d-{%s}", stream, r.key) }

// do asks a log and notes what it answers.
func (h *history) do(ctx context.Context, log *engine.Log, r *request) error {
	call := h.now.Add(1)
	a, err := r.ask(ctx, log)
	now := h.now.Add(1)
	if err != nil {
		return fmt.Errorf("%+v: %w", *r, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: r.client, Input: r, Call: call, Output: &a, Return: now})
	return nil
}

func (r *request) ask(ctx context.Context, log *engine.Log) (answer, error) {
	if r.read != "" {
		a, err := r.askRead(ctx, log)
		if ctx.Err() != nil {
			return answer{kind: "nothing"}, nil //nolint:nilerr // given up
		}
		return a, err
	}
	events := make([]leat.Event, len(r.events))
	for i, k := range r.events {
		events[i] = leat.Event{ID: k.id, Stream: r.streamName(k.stream), Type: "T", Source: "test"}
		if k.other {
			events[i].Type = "Other"
		}
	}
	receipt, err := log.Append(ctx, events, r.conds...)
	var (
		conflict *leat.ConflictError
		partial  *leat.PartialError
		reused   *leat.IDReusedError
	)
	switch {
	case err == nil && receipt.Duplicate:
		return answer{kind: "duplicate", versions: receipt.Versions}, nil
	case err == nil:
		return answer{kind: "recorded", versions: receipt.Versions}, nil
	case errors.Is(err, leat.ErrUncertain):
		return answer{kind: "unknown"}, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return answer{kind: "nothing"}, nil
	case errors.As(err, &conflict):
		return answer{kind: "conflict", actual: conflict.Actual}, nil
	case errors.As(err, &partial):
		return answer{kind: "partial", known: partial.Known}, nil
	case errors.As(err, &reused):
		return answer{kind: "reused", known: []int{reused.Index}}, nil
	}
	return answer{}, err
}

func (r *request) askRead(ctx context.Context, log *engine.Log) (answer, error) {
	a := answer{kind: "read"}
	add := func(e leat.Recorded) {
		k := token{id: e.ID, other: e.Type == "Other"}
		for stream := range a.events {
			if e.Stream == r.streamName(stream) {
				a.events[stream] += k.String() + " "
			}
		}
	}
	switch r.read {
	case "all":
		for e, err := range log.ReadStream(ctx, r.streamName(r.stream), leat.Range{}) {
			if err != nil {
				return a, err
			}
			add(e)
		}
	case "last":
		for e, err := range log.ReadStream(ctx, r.streamName(r.stream), leat.Range{}.Reverse()) {
			a.actual = e.Version
			return a, err
		}
	case "shard":
		shards, err := log.Shards(ctx)
		if err != nil {
			return a, err
		}
		i := leat.OpenShard(shards, leat.RouteHash(r.streamName(0)))
		if shards[i].Parents != nil { // was split meanwhile
			return answer{kind: "nothing"}, nil
		}
		b, err := log.ReadShard(ctx, shards[i].ID, 0, leat.ReadOptions{Limit: 1 << 20})
		for _, e := range b.Events {
			add(e)
		}
		return a, err
	}
	return a, nil
}

// check returns an error, and where to look at the history, unless there is an
// order of one thing at a time.
func (h *history) check() error {
	result, info := porcupine.CheckOperationsVerbose(oneAtATime, h.operations, 0)
	if result == porcupine.Ok {
		return nil
	}
	f, err := os.CreateTemp("", "leat-history-*.html")
	if err != nil {
		return err
	}
	err = errors.Join(porcupine.Visualize(oneAtATime, info, f), f.Close())
	return errors.Join(fmt.Errorf("a history of %d operations is not linearizable, look at %s", len(h.operations), f.Name()), err)
}
