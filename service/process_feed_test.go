package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

// A tallied is what a tally records of each step that feeds it.
type tallied struct {
	Step string `json:"step"`
}

type stepped struct {
	Name string `json:"name"`
}

var errStep = errors.New("a step that cannot be decided on")

// newTally returns a process that records each step twice, but for those whose
// names say otherwise.
func newTally() *service.Process[[]string, tallied, stepped] {
	return &service.Process[[]string, tallied, stepped]{
		Name: "tally", Types: service.NewTypes[tallied](service.TypeOf[tallied]("Tallied")),
		Evolve: func(s []string, e tallied) []string { return append(slices.Clip(s), e.Step) },
		Inputs: service.NewTypes[stepped](service.TypeOf[stepped]("Step")),
		Route:  func(stepped, leat.Recorded) string { return "1" },
		React: func(d *service.Decision[[]string, tallied], s stepped, _ leat.Recorded) error {
			if s.Name == "nothing" {
				return nil
			}
			d.Record(tallied{s.Name}, tallied{fmt.Sprintf("%s after %d", s.Name, len(d.State()))})
			switch s.Name {
			case "refused":
				return errStep
			case "panics":
				panic("step")
			}
			return nil
		},
		Store: new(servicetest.Memory),
	}
}

// feedTogether feeds the first step to a process and the others while that is being
// recorded, and returns their errors.
func feedTogether(t *testing.T, p *service.Process[[]string, tallied, stepped], log *watched, steps []leat.Recorded) map[string]error {
	t.Helper()
	hold := make(chan struct{})
	var first sync.Once
	log.append = func(ctx context.Context, events []leat.Event, conds []leat.Condition) (leat.Receipt, error) {
		first.Do(func() { <-hold })
		return log.Log.Append(ctx, events, conds...)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make(map[string]error)
	for _, r := range steps {
		wg.Go(func() {
			err := p.Feed(t.Context(), log, r)
			mu.Lock()
			defer mu.Unlock()
			errs[r.Stream] = err
		})
		synctest.Wait()
	}
	close(hold)
	wg.Wait()
	return errs
}

// record records a step.
func record(t *testing.T, log leat.Log, name, of string) leat.Recorded {
	t.Helper()
	data := fmt.Appendf(nil, `{"name":%q}`, of)
	_, err := log.Append(t.Context(), []leat.Event{{Stream: name, Type: "Step", Source: "test", Data: data}})
	ok(t, err)
	all := stream(t, log, name)
	return all[len(all)-1]
}

// steps records steps, each in a stream of its name.
func steps(t *testing.T, log leat.Log, names ...string) (all []leat.Recorded) {
	for _, name := range names {
		all = append(all, record(t, log, "step-"+name, name))
	}
	return all
}

// told returns what a tally recorded, each step with its cause.
func told(t *testing.T, log leat.Log) (all []string) {
	for _, e := range stream(t, log, "tally-1") {
		_, text, _ := strings.Cut(string(e.Data), `:"`)
		all = append(all, strings.TrimSuffix(text, `"}`)+" by "+e.Meta.Get("inputstream"))
	}
	return all
}

// decided returns the steps that a tally recorded, in the order of their names.
func decided(t *testing.T, log leat.Log) string {
	var all []string
	for _, text := range told(t, log) {
		if !strings.Contains(text, " after ") {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestEventsThatWaitAreRecordedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		all := steps(t, log.Log, "a", "b", "nothing", "c")
		for stream, err := range feedTogether(t, newTally(), log, all) {
			want(t, stream, err, error(nil))
		}
		want(t, "recorded", strings.Join(told(t, log), ", "), "a by step-a, a after 0 by step-a, "+
			"b by step-b, b after 2 by step-b, c by step-c, c after 4 by step-c")
		events := stream(t, log, "tally-1")
		want(t, "appends", log.appends.Load(), int64(2))
		want(t, "commit of the last", events[5].Commit, events[2].Commit)
		for i, r := range []leat.Recorded{all[0], all[1], all[3]} {
			want(t, "cause", events[2*i].Meta.Get(leat.MetaCausation), r.ID)
			want(t, "ID", events[2*i].ID, service.CommandKey(r, "react"))
			want(t, "ID of the second", events[2*i+1].ID, service.CommandKey(r, "react")+"/2")
			want(t, "time", events[2*i].Time, r.Time)
		}
		for _, r := range all {
			ok(t, newTally().Feed(t.Context(), log, r)) // as after the loss of everything but the log
		}
		want(t, "events", len(stream(t, log, "tally-1")), 6)
	})
}

func TestEventsThatWaitFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		errs := feedTogether(t, newTally(), log, steps(t, log.Log, "a", "refused", "b", "panics", "c"))
		for _, name := range []string{"a", "b", "c"} {
			want(t, name, errs["step-"+name], error(nil))
		}
		if err := errs["step-refused"]; !errors.Is(err, errStep) {
			t.Errorf("the step that is refused: %v, want its error", err)
		}
		if err := errs["step-panics"]; err == nil || !strings.Contains(err.Error(), "panic: step") {
			t.Errorf("the step that panics: %v, want its panic", err)
		}
		want(t, "recorded", decided(t, log), "a by step-a, b by step-b, c by step-c")
	})
}

// What one noted before it panicked is nobody else's, also when that one decides
// nothing itself.
func TestWhatPanickedIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		errs := feedTogether(t, newTally(), log, steps(t, log.Log, "a", "nothing", "panics"))
		want(t, "nothing", errs["step-nothing"], error(nil))
		want(t, "recorded", decided(t, log), "a by step-a")
	})
}

// An event that decides nothing on a state from before it came is not answered
// with that.
func TestEventsThatWaitAreDecidedOnWhatWasBeforeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := func() *service.Process[[]string, tallied, stepped] {
			p := newTally()
			p.React = func(d *service.Decision[[]string, tallied], s stepped, _ leat.Recorded) error {
				if s.Name == "open" || s.Name == "close" && slices.Contains(d.State(), "open") {
					d.Record(tallied{s.Name})
				}
				return nil
			}
			return p
		}
		log := newLog(t, leat.Config{})
		slow := &slowReads{Log: log, hold: make(chan struct{})}
		p, knock := door(), record(t, log, "step-knock", "knock")
		var wg sync.WaitGroup
		wg.Go(func() { ok(t, p.Feed(t.Context(), slow, knock)) })
		synctest.Wait() // it was told that the process has no events yet
		ok(t, door().Feed(t.Context(), log, record(t, log, "step-open", "open")))
		closed := record(t, log, "step-close", "close")
		wg.Go(func() { ok(t, p.Feed(t.Context(), slow, closed)) })
		synctest.Wait()
		close(slow.hold)
		wg.Wait()
		want(t, "recorded", decided(t, log), "close by step-close, open by step-open")
	})
}

// slowReads answers reads of streams as they were when they began.
type slowReads struct {
	leat.Log
	hold chan struct{}
}

func (s *slowReads) ReadStream(ctx context.Context, name string, r leat.Range) iter.Seq2[leat.Recorded, error] {
	return func(yield func(leat.Recorded, error) bool) {
		var all []leat.Recorded
		for e, err := range s.Log.ReadStream(ctx, name, r) {
			if err != nil {
				yield(e, err)
				return
			}
			all = append(all, e)
		}
		<-s.hold
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Timers and commands of those that are decided on together are as if one came
// after the other, also where Evolve changes the state it is given.
func TestTimersAndCommandsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		p := newMarks()
		errs := feedTogether(t, p, log, steps(t, log.Log, "a", "sets", "fails", "cancels", "does"))
		if !errors.Is(errs["step-fails"], errStep) {
			t.Errorf("the step that fails: %v, want its error", errs["step-fails"])
		}
		got := strings.Fields(types(t, log, "tally-1"))
		slices.Sort(got)
		want(t, "types", strings.Join(got, " "), "Note Tallied Tallied Tallied Tallied TimerCancelled TimerSet TimerSet")
		ok(t, p.Fire(t.Context(), log, "1", time.Now().Add(2*time.Hour)))
		kept, err := p.Load(t.Context(), log, "1")
		ok(t, err)
		read, err := newMarks().Load(t.Context(), log, "1")
		ok(t, err)
		want(t, "state", strings.Join(kept.State, " "), strings.Join(read.State, " "))
		want(t, "steps", len(read.State), 5) // the timer that nobody cancelled is one
		want(t, "last", read.State[4], "soon")
	})
}

// newMarks returns a tally that marks the steps it has when one more comes.
func newMarks() *service.Process[[]string, tallied, stepped] {
	p := newTally()
	p.Clone = slices.Clone
	p.Evolve = func(s []string, e tallied) []string {
		for i := range s {
			s[i] += "+"
		}
		return append(s, e.Step)
	}
	p.Commands = []service.Command{service.CommandOf("Note", func(context.Context, stepped, leat.Recorded) error { return nil })}
	p.Fired = func(d *service.Decision[[]string, tallied], timer string, _ time.Time) error {
		d.Record(tallied{timer})
		return nil
	}
	p.React = func(d *service.Decision[[]string, tallied], s stepped, _ leat.Recorded) error {
		d.Record(tallied{s.Name})
		switch s.Name {
		case "sets":
			d.SetTimer("soon", time.Now().Add(time.Minute))
			d.SetTimer("late", time.Now().Add(time.Hour))
		case "fails":
			d.CancelTimer("soon")
			return errStep
		case "cancels":
			d.CancelTimer("late")
		case "does":
			d.Do(s)
		}
		return nil
	}
	return p
}

func TestFeedOfALogThatCannotBeCompared(t *testing.T) {
	log := newLog(t, leat.Config{})
	r := record(t, log, "step-a", "a")
	odd := struct {
		leat.Log
		_ []int
	}{Log: log}
	if err := newTally().Feed(t.Context(), odd, r); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("feed: %v, want ErrInvalid", err)
	}
}

// Another process of the fleet decided on one of those that wait.
func TestOneOfThoseThatWaitWasDecidedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watched{Log: newLog(t, leat.Config{})}
		p, all := newTally(), steps(t, log.Log, "before", "a", "b", "c")
		ok(t, p.Feed(t.Context(), log, all[0])) // so it keeps a state
		ok(t, newTally().Feed(t.Context(), log.Log, all[2]))
		for stream, err := range feedTogether(t, p, log, all[1:]) {
			want(t, stream, err, error(nil))
		}
		want(t, "recorded", decided(t, log), "a by step-a, b by step-b, before by step-before, c by step-c")
	})
}

// feedUntilDone feeds an event as often as others are faster.
func feedUntilDone(t *testing.T, p *service.Process[[]string, tallied, stepped], log leat.Log, r leat.Recorded) {
	for {
		err := p.Feed(t.Context(), log, r)
		if err == nil {
			return
		}
		if !errors.Is(err, leat.ErrConflict) {
			t.Errorf("feed %s: %v", r.Stream, err)
			return
		}
	}
}

// Whatever the order in which workers are given events, and however often, each is
// decided on once, and on the state that those before it have made.
func TestEventsTogetherAtRandom(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	log := newLog(t, leat.Config{})
	const streams, each = 12, 8
	var wg sync.WaitGroup
	workers := []*service.Process[[]string, tallied, stepped]{newTally(), newTally(), newTally()}
	for i := range streams {
		var events []leat.Recorded
		for j := range each {
			events = append(events, record(t, log, fmt.Sprintf("step-%d", i), fmt.Sprintf("%d.%d", i, j)))
		}
		for _, w := range workers {
			again := rng.IntN(each)
			wg.Go(func() {
				for j, r := range events {
					feedUntilDone(t, w, log, r)
					if j == again {
						feedUntilDone(t, w, log, r)
					}
				}
			})
		}
	}
	wg.Wait()
	last := make(map[string]string)
	for i, text := range told(t, log) {
		name, _, _ := strings.Cut(text, " ")
		number, _, _ := strings.Cut(name, ".")
		if i%2 == 1 {
			if want := fmt.Sprintf("%s after %d by", name, i-1); !strings.HasPrefix(text, want) {
				t.Errorf("seed %d: event %d is %q, want %q …", seed, i, text, want)
			}
			continue
		}
		if name <= last[number] {
			t.Errorf("seed %d: %s was decided on after %s", seed, name, last[number])
		}
		last[number] = name
	}
	want(t, "events", len(told(t, log)), 2*streams*each)
	want(t, "streams", len(slices.Collect(maps.Keys(last))), streams)
}
