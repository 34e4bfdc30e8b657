package servicetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// TestProcessStore proves what a service.ProcessStore promises of timers; see
// TestReadModel for the rest. create makes a new, empty database, and returns
// what opens a store in it as another process would.
func TestProcessStore(t *testing.T, create func(t testing.TB) (open func(t testing.TB) service.ProcessStore)) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	timer := func(stream, name string, version uint64, after time.Duration) service.Timer {
		return service.Timer{Stream: stream, Name: name, Version: version, Due: began.Add(after)}
	}
	type store struct {
		*testing.T
		service.ProcessStore
	}
	set := func(s store, app string, timers ...service.Timer) {
		s.Helper()
		for _, timer := range timers {
			if err := s.SetTimer(s.Context(), app, timer); err != nil {
				s.Fatal(err)
			}
		}
	}
	drop := func(s store, app string, timer service.Timer) {
		s.Helper()
		if err := s.DropTimer(s.Context(), app, timer); err != nil {
			s.Fatal(err)
		}
	}
	due := func(s store, app string, keys leat.Shard, after time.Duration, most int, want ...service.Timer) {
		s.Helper()
		got, err := s.DueTimers(s.Context(), app, keys.From, keys.To, began.Add(after), most)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			s.Errorf("timers due after %s are %v, %v; want %v", after, got, err, want)
		}
	}
	all := leat.EvenShards(1)[0]
	for _, c := range []struct {
		name  string
		check func(a, b store)
	}{
		{"nothing is due at first", func(a, _ store) { due(a, "x", all, time.Hour, 10) }},
		{"what is due comes in order, to others too", func(a, b store) {
			late, soon, later := timer("p-1", "late", 3, 2), timer("p-2", "soon", 1, 1), timer("p-1", "later", 4, time.Hour)
			set(a, "x", late, soon, later)
			due(b, "x", all, 0, 10)
			due(b, "x", all, 1, 10, soon)
			due(b, "x", all, time.Minute, 10, soon, late)
			due(b, "x", all, 2*time.Hour, 2, soon, late)
		}},
		{"a newer timer takes the place of an older, never the other way", func(a, b store) {
			old, young := timer("p-1", "t", 3, 1), timer("p-1", "t", 5, 9)
			set(a, "x", old, young)
			due(b, "x", all, 5, 10)
			set(b, "x", old)
			due(a, "x", all, time.Hour, 10, young)
			set(b, "x", young)
			due(a, "x", all, time.Hour, 10, young)
		}},
		{"a timer of a later epoch is newer, whatever its version", func(a, b store) {
			lost, young := timer("p-1", "t", 99, 30*time.Minute), timer("p-1", "t", 3, 1)
			lost.Epoch, young.Epoch = 1, 2
			set(a, "x", lost, young)
			due(b, "x", all, time.Hour, 10, young)
			set(b, "x", lost)
			drop(b, "x", lost)
			due(a, "x", all, time.Hour, 10, young)
			drop(a, "x", young)
			set(a, "x", lost)
			young.Version = 1
			drop(b, "x", young)
			due(a, "x", all, time.Hour, 10)
		}},
		{"dropping leaves what is newer, and is no error when there is nothing", func(a, b store) {
			young := timer("p-1", "t", 5, 9)
			drop(a, "x", young)
			set(a, "x", young)
			drop(b, "x", timer("p-1", "t", 4, 0))
			drop(b, "x", timer("p-1", "other", 9, 0))
			drop(b, "x", timer("p-2", "t", 9, 0))
			due(a, "x", all, time.Hour, 10, young)
			drop(b, "x", timer("p-1", "t", 6, 0))
			due(a, "x", all, time.Hour, 10)
		}},
		{"applications do not see each other", func(a, b store) {
			mine := timer("p-1", "t", 1, 1)
			set(a, "x", mine)
			due(b, "y", all, time.Hour, 10)
			drop(b, "y", mine)
			due(b, "x", all, time.Hour, 10, mine)
		}},
		{"shards see the timers of their own streams", func(a, _ store) {
			var timers []service.Timer
			for i := range 40 {
				timers = append(timers, timer(fmt.Sprintf("p-%d", i), "t", 1, time.Duration(i)))
			}
			set(a, "x", timers...)
			for _, s := range leat.EvenShards(4) {
				var own []service.Timer
				for _, t := range timers {
					if s.Owns(leat.RouteHash(t.Stream)) {
						own = append(own, t)
					}
				}
				due(a, "x", s, time.Hour, 100, own...)
			}
		}},
		{"any names come back", func(a, _ store) {
			odd := timer("p-'; \u2603 %", `"`, 1<<62, -80*365*24*time.Hour)
			set(a, "x'", odd)
			due(a, "x'", all, 0, 10, odd)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := create(t)
			c.check(store{t, open(t)}, store{t, open(t)})
		})
	}
}
