package service_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func snapshotted(store service.SnapshotStore, every int) *service.Aggregate[stock, stockEvent] {
	stocks := newStocks()
	stocks.Snapshots = service.Snapshots{Store: store, Reducer: "1", Every: every}
	return stocks
}

// A process that starts reads what came after the last snapshot, and no more.
func TestSnapshotsShortenTheFirstLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		store := servicetest.NewMemory()
		stocks := snapshotted(store, 100)
		for range 250 {
			do(t, stocks, log, "A", receive(1))
			synctest.Wait() // until a snapshot is written, if one is
		}
		for _, c := range []struct {
			name  string
			spoil func(*service.Aggregate[stock, stockEvent])
			read  int64
		}{
			{"the same reducer", func(*service.Aggregate[stock, stockEvent]) {}, 51},
			{"another reducer", func(a *service.Aggregate[stock, stockEvent]) { a.Snapshots.Reducer = "2" }, 250},
			{"without", func(a *service.Aggregate[stock, stockEvent]) { a.Snapshots = service.Snapshots{} }, 250},
		} {
			log.read.Store(0)
			fresh := snapshotted(store, 100)
			c.spoil(fresh)
			loaded, err := fresh.Load(t.Context(), log, "A")
			ok(t, err)
			want(t, c.name+": state", loaded, service.Loaded[stock]{State: stock{250, 250}, Version: 250})
			want(t, c.name+": events read", log.read.Load(), c.read)
			synctest.Wait()
		}
		// The one that found none has made one.
		log.read.Store(0)
		second := snapshotted(store, 100)
		second.Snapshots.Reducer = "2"
		_, err := second.Load(t.Context(), log, "A")
		ok(t, err)
		want(t, "events read", log.read.Load(), int64(1))

		log.read.Store(0)
		at, err := snapshotted(store, 100).LoadVersion(t.Context(), log, "A", 220)
		ok(t, err)
		want(t, "state of version 220", at.State, stock{220, 220})
		want(t, "events read", log.read.Load(), int64(21))
		at, err = snapshotted(store, 100).LoadVersion(t.Context(), log, "A", 120)
		ok(t, err)
		want(t, "state of a version before the snapshot", at.State, stock{120, 120})
	})
}

// While one snapshot is written, which may take long, commands go on.
func TestSnapshotsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		store := &slowStore{Memory: servicetest.NewMemory(), wait: make(chan struct{})}
		stocks := snapshotted(store, 10)
		began := time.Now()
		for i := range 100 {
			do(t, stocks, log, fmt.Sprint(i%3), receive(1))
		}
		want(t, "time that passed", time.Since(began), time.Duration(0))
		synctest.Wait()
		want(t, "snapshots being written", store.writing(), 1)
		close(store.wait)
		synctest.Wait()
		for i := range 3 {
			do(t, stocks, log, fmt.Sprint(i), receive(1))
			synctest.Wait()
		}
		want(t, "snapshots", store.writing(), 4)
	})
}

// Flush waits for the snapshot that is being written.
func TestFlushOfSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, store := newLog(t, leat.Config{}), &slowStore{Memory: servicetest.NewMemory(), wait: make(chan struct{})}
		ok(t, newStocks().Flush(t.Context()))
		stocks := snapshotted(store, 1)
		ok(t, stocks.Flush(t.Context()))
		do(t, stocks, log, "A", receive(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stocks.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush while one is written: %v, want that its context ended", err)
		}
		time.AfterFunc(time.Second, func() { close(store.wait) })
		ok(t, stocks.Flush(t.Context()))
		data, err := store.Snapshot(t.Context(), "stock-A", "1")
		ok(t, err)
		want(t, "kept", len(data) > 0, true)
	})
}

type slowStore struct {
	*servicetest.Memory
	wait chan struct{}
	mu   sync.Mutex
	n    int
}

func (s *slowStore) writing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *slowStore) PutSnapshot(ctx context.Context, stream, reducer string, data []byte) error {
	s.mu.Lock()
	s.n++
	s.mu.Unlock()
	select {
	case <-s.wait:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Memory.PutSnapshot(ctx, stream, reducer, data)
}

// A state that JSON would not keep whole is refused, and named.
func TestSnapshotsOfWhatJSONDoesNotKeep(t *testing.T) {
	type fine struct {
		A  int `json:"a,omitempty"`
		B  map[string][]*fine
		C  time.Time
		D  big.Int
		E  [3]struct{ F float64 }
		G  map[int]bool
		At *time.Time
	}
	type hidden struct{ Shown, hidden int }
	type left struct {
		Out int `json:"-"`
	}
	type open struct{ Any map[string]any }
	type odd struct{ By map[struct{ A int }]int }
	for _, c := range []struct {
		field string
		err   error
	}{
		{"", firstUse[fine]()},
		{"", firstUse[int]()},
		{"hidden.hidden", firstUse[hidden]()},
		{"left.Out", firstUse[left]()},
		{"open.Any[]", firstUse[open]()},
		{"odd.By", firstUse[odd]()},
		{"hidden", firstUse[[]func()]()},
	} {
		if c.field == "" {
			ok(t, c.err)
		} else if _, invalid := errors.AsType[*leat.InvalidError](c.err); !invalid || c.field != "hidden" && !strings.Contains(c.err.Error(), c.field) {
			t.Errorf("%s: %v, want an InvalidError that names it", c.field, c.err)
		}
	}
	stocks := snapshotted(servicetest.NewMemory(), 0)
	stocks.Snapshots.Reducer = ""
	if _, err := stocks.Load(t.Context(), newLog(t, leat.Config{}), "A"); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("without a reducer: %v, want ErrInvalid", err)
	}
	stocks = snapshotted(servicetest.NewMemory(), -1)
	if _, err := stocks.Load(t.Context(), newLog(t, leat.Config{}), "A"); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("every -1 events: %v, want ErrInvalid", err)
	}
}

// firstUse returns the error of an aggregate that keeps snapshots of S.
func firstUse[S any]() error {
	a := &service.Aggregate[S, stockEvent]{
		Category: "a", Types: stockTypes, Evolve: func(s S, _ stockEvent) S { return s },
		Snapshots: service.Snapshots{Store: servicetest.NewMemory(), Reducer: "1"},
	}
	log, err := leattest.New(leat.Config{}, time.Now)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = a.Load(context.Background(), log, "1")
	return err
}

// A state whose fields changed is another, though nobody changed the reducer.
func TestSnapshotsOfAnotherShape(t *testing.T) {
	type before struct{ Count int }
	type after struct{ Number int }
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		store := servicetest.NewMemory()
		old := &service.Aggregate[before, stockEvent]{
			Category: "stock", Types: stockTypes, Snapshots: service.Snapshots{Store: store, Reducer: "1", Every: 1},
			Evolve: func(s before, _ stockEvent) before { return before{s.Count + 1} },
		}
		_, err := old.Do(t.Context(), log, "A", func(before) ([]stockEvent, error) { return make100(received{1}), nil })
		ok(t, err)
		synctest.Wait()
		young := &service.Aggregate[after, stockEvent]{
			Category: "stock", Types: stockTypes, Snapshots: service.Snapshots{Store: store, Reducer: "1", Every: 1000},
			Evolve: func(s after, _ stockEvent) after { return after{s.Number + 1} },
		}
		l, err := young.Load(t.Context(), log, "A")
		ok(t, err)
		want(t, "number", l.State.Number, 100)
	})
}

// Whatever becomes of snapshots, what is loaded and decided on is what folding
// the whole stream gives.
func TestSnapshotsAreNeverTheTruth(t *testing.T) {
	below := chance(t)
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			m := &snapshotModel{T: t, below: below, store: &badStore{below: below, kept: make(map[string][]byte)}}
			m.log = m.newLog(nil, nil)
			for range 3 {
				m.startProcess()
			}
			for range 150 {
				m.step()
			}
		})
	}
}

// A snapshotModel is a log, processes that keep snapshots, and what goes wrong.
type snapshotModel struct {
	*testing.T
	below     func(int) int
	store     *badStore
	log       *leattest.Log
	ended     []leat.Epoch
	processes []*service.Aggregate[chronicle, stockEvent]
	commands  int
}

// chronicle is a state that tells all that became of it, and that Evolve writes to in
// place.
type chronicle struct {
	Units map[string]int
	Order []string
}

func (m *snapshotModel) newLog(ended []leat.Epoch, events []leat.Recorded) *leattest.Log {
	// A clock that stands still, and IDs of commands that are sent again: after a
	// restore other events may have the same time and ID as those that are lost.
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	log, err := leattest.New(leat.Config{ID: "L", Ended: ended}, func() time.Time { return now })
	ok(m, err)
	m.Cleanup(func() { _ = log.Close() })
	if len(events) > 0 {
		ok(m, log.Import(m.Context(), leat.ShardNumber(0), events))
	}
	return log
}

func (m *snapshotModel) startProcess() {
	a := &service.Aggregate[chronicle, stockEvent]{
		Category: "stock", Types: stockTypes, Cache: m.below(4) - 1,
		Snapshots: service.Snapshots{Store: m.store, Reducer: fmt.Sprint(m.below(2)), Every: 1 + m.below(6)},
		Evolve:    func(s chronicle, e stockEvent) chronicle { return evolveChronicle(cloneChronicle(s), e) },
	}
	if a.Snapshots.Reducer == "1" {
		a.Evolve, a.Clone = evolveChronicle, cloneChronicle
	}
	m.processes = append(m.processes, a)
}

func evolveChronicle(s chronicle, e stockEvent) chronicle {
	if s.Units == nil {
		s.Units = make(map[string]int)
	}
	r := e.(reserved)
	s.Units[r.Order] += r.Units
	s.Order = append(s.Order, r.Order)
	return s
}

func cloneChronicle(s chronicle) chronicle {
	return chronicle{maps.Clone(s.Units), slices.Clone(s.Order)}
}

// whole folds a stream from its beginning.
func (m *snapshotModel) whole(id string) (s chronicle, version uint64) {
	for _, r := range stream(m, m.log, "stock-"+id) {
		e, err := stockTypes.Decode(r)
		ok(m, err)
		s, version = evolveChronicle(s, e), r.Version
	}
	return s, version
}

func (m *snapshotModel) same(what, id string, got chronicle, version uint64) {
	m.Helper()
	whole, at := m.whole(id)
	if version != at || !reflect.DeepEqual(got, whole) {
		m.Fatalf("%s %s: version %d, %v; the stream says version %d, %v", what, id, version, got, at, whole)
	}
}

func (m *snapshotModel) step() {
	a, id := m.processes[m.below(len(m.processes))], fmt.Sprint(m.below(3))
	switch m.below(12) {
	case 0, 1, 2, 3, 4:
		m.commands++
		command := fmt.Sprint("c", m.commands-m.below(2)*m.below(m.commands))
		r, err := a.Do(m.Context(), m.log, id, func(chronicle) ([]stockEvent, error) {
			return slices.Repeat([]stockEvent{reserved{command, 1}}, 1+len(command)%3), nil
		}, service.CommandID(command))
		ok(m, err)
		m.same("Do", id, r.State, r.Version)
	case 5, 6, 7:
		l, err := a.Load(m.Context(), m.log, id)
		ok(m, err)
		m.same("Load", id, l.State, l.Version)
	case 8:
		_, head := m.whole(id)
		version := uint64(m.below(int(head) + 1))
		l, err := a.LoadVersion(m.Context(), m.log, id, version)
		ok(m, err)
		if len(l.State.Order) != int(version) {
			m.Fatalf("LoadVersion %d of %s: %v", version, id, l.State)
		}
	case 9:
		m.store.spoil()
	case 10:
		if m.below(3) == 0 {
			m.restore()
		}
	case 11:
		if m.below(2) == 0 {
			m.processes = slices.Delete(m.processes, 0, 1)
			m.startProcess()
		}
	}
	if m.below(4) > 0 {
		synctest.Wait()
	}
}

// restore takes the log back to an earlier moment. What the snapshots say came
// after that never was.
func (m *snapshotModel) restore() {
	b, err := m.log.ReadShard(m.Context(), leat.ShardNumber(0), 0, leat.ReadOptions{Limit: 1 << 20, Filter: leat.Filter{System: true}})
	ok(m, err)
	keep := m.below(len(b.Events) + 1)
	for keep < len(b.Events) && keep > 0 && b.Events[keep].Commit == b.Events[keep-1].Commit {
		keep++
	}
	m.ended = append(m.ended, leat.Epoch{
		Number: uint64(len(m.ended) + 1), Heads: map[leat.ShardID]uint64{leat.ShardNumber(0): uint64(keep)},
	})
	m.log = m.newLog(m.ended, b.Events[:keep])
}

// A badStore loses, mixes up, delays and damages what it keeps.
type badStore struct {
	below func(int) int
	mu    sync.Mutex
	kept  map[string][]byte
	late  []func() // writes that come later
}

var errStore = errors.New("the store is away")

func (s *badStore) Snapshot(_ context.Context, stream, reducer string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.below(12) {
	case 0:
		return nil, errStore
	case 1:
		panic("in the store")
	case 2:
		for _, other := range s.kept {
			return bytes.Clone(other), nil
		}
	}
	return bytes.Clone(s.kept[stream+"/"+reducer]), nil
}

func (s *badStore) PutSnapshot(_ context.Context, stream, reducer string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	put := func() { s.kept[stream+"/"+reducer] = bytes.Clone(data) }
	switch s.below(8) {
	case 0:
		return errStore
	case 1:
		put()
		return errStore
	case 2:
		return nil // lost
	case 3:
		panic("in the store")
	case 4:
		s.late = append(s.late, put)
		return nil
	}
	put()
	return nil
}

// spoil does something to what is kept.
func (s *badStore) spoil() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(s.kept)) {
		data := s.kept[key]
		switch s.below(6) {
		case 0:
			delete(s.kept, key)
		case 1:
			data[s.below(len(data))] ^= byte(1 << s.below(8))
		case 2:
			s.kept[key] = data[:s.below(len(data))]
		case 3:
			for other := range s.kept {
				s.kept[key], s.kept[other] = s.kept[other], s.kept[key]
				break
			}
		}
		if len(s.kept[key]) == 0 {
			delete(s.kept, key)
		}
	}
	for _, put := range s.late {
		put()
	}
	s.late = nil
}

// A snapshot says in JSON what it holds, for people who look into a database.
func TestSnapshotsCanBeRead(t *testing.T) {
	store := servicetest.NewMemory()
	synctest.Test(t, func(t *testing.T) {
		do(t, snapshotted(store, 1), newLog(t, leat.Config{ID: "L"}), "A", receive(3))
	})
	data, err := store.Snapshot(t.Context(), "stock-A", "1")
	ok(t, err)
	const head = len("leat snapshot 1\n") + sha256.Size
	var got struct {
		Log, Stream string
		Version     int
		State       stock
	}
	ok(t, json.Unmarshal(data[head:], &got))
	want(t, "snapshot", fmt.Sprint(got), "{L stock-A 1 {3 1}}")
}
