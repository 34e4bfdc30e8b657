package servicetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// Memory is a service.ReadModel that keeps strings by key, a
// service.ProcessStore and a service.SnapshotStore. It is safe for concurrent
// use. Make one with NewMemory.
type Memory struct {
	turn  chan struct{} // taken by who writes
	state atomic.Pointer[memory]

	snapshots sync.Map // [2]string{stream, reducer} to []byte

	mu     sync.Mutex
	timers map[[3]string]service.Timer // by application, stream and name
}

// A Tx is a transaction of Memory.
type Tx struct{ data map[string]string }

// Get returns the value of a key, empty when there is none.
func (tx *Tx) Get(key string) string { return tx.data[key] }

// Set sets the value of a key.
func (tx *Tx) Set(key, value string) { tx.data[key] = value }

// memory is what a transaction replaces, or does not. It is not changed after.
type memory struct {
	data        map[string]string
	checkpoints map[string]leat.Checkpoint
	parked      map[place]entry
}

type place struct {
	name, stream string
	version      uint64
}

type entry struct {
	service.Parked
	retry bool
}

var (
	_ service.ReadModel[*Tx] = (*Memory)(nil)
	_ service.ProcessStore   = (*Memory)(nil)
	_ service.SnapshotStore  = (*Memory)(nil)
)

// NewMemory returns an empty read model.
func NewMemory() *Memory {
	m := &Memory{turn: make(chan struct{}, 1), timers: make(map[[3]string]service.Timer)}
	m.state.Store(&memory{
		data: make(map[string]string), checkpoints: make(map[string]leat.Checkpoint), parked: make(map[place]entry),
	})
	return m
}

// Data returns a copy of what is stored.
func (m *Memory) Data() map[string]string { return maps.Clone(m.state.Load().data) }

// change runs f on a copy of the state, which replaces it when f succeeds.
func (m *Memory) change(ctx context.Context, f func(s *memory) error) error {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := m.state.Load()
	s := memory{maps.Clone(now.data), maps.Clone(now.checkpoints), maps.Clone(now.parked)}
	if err := f(&s); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.state.Store(&s)
	return nil
}

// read runs f on the state as it is committed.
func (m *Memory) read(ctx context.Context, f func(s *memory)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f(m.state.Load())
	return nil
}

// Checkpoint implements service.CheckpointStore.
func (m *Memory) Checkpoint(ctx context.Context, name string) (c leat.Checkpoint, err error) {
	err = m.read(ctx, func(s *memory) {
		c = s.checkpoints[name].Clone()
	})
	return c, err
}

// Applications implements service.CheckpointStore.
func (m *Memory) Applications(ctx context.Context) (names []string, err error) {
	err = m.read(ctx, func(s *memory) {
		for name := range s.checkpoints {
			names = append(names, name)
		}
		for at := range s.parked {
			names = append(names, at.name)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "$") })
		slices.Sort(names)
		names = slices.Compact(names)
	})
	return names, err
}

// Save implements service.CheckpointStore.
func (m *Memory) Save(ctx context.Context, step service.Step) error {
	return m.Commit(ctx, step, func(context.Context, *Tx) error { return nil })
}

// Commit implements service.ReadModel.
func (m *Memory) Commit(ctx context.Context, step service.Step, f func(ctx context.Context, tx *Tx) error) error {
	return m.change(ctx, func(s *memory) error {
		for _, step := range step.All() {
			if err := s.take(step); err != nil {
				return err
			}
		}
		return f(ctx, &Tx{s.data})
	})
}

// take takes a step if the application stands where it begins.
func (s *memory) take(step service.Step) error {
	at := s.checkpoints[step.Name].Clone()
	if err := step.Check(at); err != nil {
		return err
	}
	if !step.To.IsZero() {
		at.Log, at.Epoch = step.To.Log, step.To.Epoch
		for shard, seq := range step.To.Seqs {
			at.Set(shard, seq)
		}
		s.checkpoints[step.Name] = at
	}
	for _, p := range step.Done {
		at := place{step.Name, p.Stream, p.Version}
		if known, ok := s.parked[at]; !ok || !known.Waits() {
			return fmt.Errorf("event %d of stream %q: %w", p.Version, p.Stream, service.ErrNotParked)
		}
		delete(s.parked, at)
	}
	for _, p := range step.Park {
		at := place{step.Name, p.Stream, p.Version}
		if known, ok := s.parked[at]; !ok || known.Waits() {
			s.parked[at] = entry{Parked: p}
		}
	}
	return nil
}

// Parked implements service.CheckpointStore.
func (m *Memory) Parked(ctx context.Context, name, stream string) (events []service.Parked, err error) {
	err = m.read(ctx, func(s *memory) {
		for _, e := range s.inOrder(name) {
			if stream == "" || e.Stream == stream {
				events = append(events, e.Parked)
			}
		}
	})
	return events, err
}

// Waiting implements service.CheckpointStore.
func (m *Memory) Waiting(ctx context.Context, name string) (map[string]uint64, error) {
	waiting := make(map[string]uint64)
	err := m.read(ctx, func(s *memory) {
		for at, e := range s.parked {
			if at.name == name && e.Waits() {
				waiting[at.stream]++
			}
		}
	})
	return waiting, err
}

// Due implements service.CheckpointStore.
func (m *Memory) Due(ctx context.Context, name string) (streams []string, err error) {
	err = m.read(ctx, func(s *memory) {
		first := make(map[string]bool)
		for _, e := range s.inOrder(name) {
			if !e.Waits() || first[e.Stream] {
				continue
			}
			first[e.Stream] = true
			if e.retry || e.Error == "" {
				streams = append(streams, e.Stream)
			}
		}
	})
	return streams, err
}

// Retry implements service.CheckpointStore.
func (m *Memory) Retry(ctx context.Context, name, stream string) error {
	return m.change(ctx, func(s *memory) error {
		for _, e := range s.inOrder(name) {
			if e.Stream == stream && e.Waits() {
				e.retry = true
				s.parked[place{name, stream, e.Version}] = e
				return nil
			}
		}
		return fmt.Errorf("stream %q: %w", stream, service.ErrNotParked)
	})
}

// Discard implements service.CheckpointStore.
func (m *Memory) Discard(ctx context.Context, name, stream string, version uint64, reason string) error {
	return m.change(ctx, func(s *memory) error {
		at := place{name, stream, version}
		e, ok := s.parked[at]
		if !ok || !e.Waits() {
			return fmt.Errorf("event %d of stream %q: %w", version, stream, service.ErrNotParked)
		}
		e.Discarded, e.Reason = time.Now().UTC(), reason
		s.parked[at] = e
		return nil
	})
}

// SetTimer implements service.ProcessStore.
func (m *Memory) SetTimer(_ context.Context, app string, t service.Timer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := [3]string{app, t.Stream, t.Name}; !m.timers[at].After(t) {
		m.timers[at] = t
	}
	return nil
}

// DropTimer implements service.ProcessStore.
func (m *Memory) DropTimer(_ context.Context, app string, t service.Timer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := [3]string{app, t.Stream, t.Name}; !m.timers[at].After(t) {
		delete(m.timers, at)
	}
	return nil
}

// DueTimers implements service.ProcessStore.
func (m *Memory) DueTimers(_ context.Context, app string, from, to leat.HashKey, by time.Time, most int) ([]service.Timer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []service.Timer
	for at, t := range m.timers {
		if key := leat.RouteHash(t.Stream); at[0] == app && !t.Due.After(by) && from.Compare(key) <= 0 && key.Compare(to) <= 0 {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b service.Timer) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Name, b.Name))
	})
	return due[:min(most, len(due))], nil
}

// Snapshot implements service.SnapshotStore.
func (m *Memory) Snapshot(_ context.Context, stream, reducer string) ([]byte, error) {
	data, _ := m.snapshots.Load([2]string{stream, reducer})
	kept, _ := data.([]byte)
	return bytes.Clone(kept), nil
}

// PutSnapshot implements service.SnapshotStore.
func (m *Memory) PutSnapshot(_ context.Context, stream, reducer string, data []byte) error {
	m.snapshots.Store([2]string{stream, reducer}, bytes.Clone(data))
	return nil
}

// inOrder returns the entries of an application by stream and version.
func (s *memory) inOrder(name string) []entry {
	var events []entry
	for at, e := range s.parked {
		if at.name == name {
			events = append(events, e)
		}
	}
	slices.SortFunc(events, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Version, b.Version))
	})
	return events
}
