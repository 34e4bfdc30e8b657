package service

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"time"

	"github.com/leathq/leat"
)

// A Decision collects what a Process decides on one event. Its methods only
// note; nothing is recorded when the function that was given it fails.
type Decision[S, E any] struct {
	id      string
	state   S
	evolve  func(S, E) S
	timers  map[string]bool // that are set
	decided []any
	err     error // of the first that cannot be recorded
	rules   rules
}

// rules say what a process can record: they return the error of what it cannot.
type rules interface {
	checkEvent(e any) error
	checkCommand(command any) error
	checkTimers() error
}

// ID returns the ID of the process, as Route gave it.
func (d *Decision[S, E]) ID() string { return d.id }

// State returns the state of the process, after the events that the decision has
// recorded. It must not be changed.
func (d *Decision[S, E]) State() S { return d.state }

// Record records events of the process.
func (d *Decision[S, E]) Record(events ...E) {
	for _, e := range events {
		if d.add(e, d.rules.checkEvent(e)) {
			d.state = d.evolve(d.state, e)
		}
	}
}

// Do has commands carried out, once what was decided is recorded. Each is of a
// type that is declared in Process.Commands.
func (d *Decision[S, E]) Do(commands ...any) {
	for _, c := range commands {
		d.add(c, d.rules.checkCommand(c))
	}
}

// SetTimer sets a timer, in place of one with this name that is set. It fires
// once, at that moment or a few seconds later: not before all events are handled
// that the log had by then, so that a process which was held up does not take
// for missing what only waits. A moment that has passed is as good as any, from
// the year 1700 to 2200. A name has 1 to leat.MaxNameBytes bytes.
func (d *Decision[S, E]) SetTimer(name string, due time.Time) {
	err := d.rules.checkTimers()
	switch {
	case name == "" || len(name) > leat.MaxNameBytes:
		err = &leat.InvalidError{Field: "name of timer", Limit: fmt.Sprintf("1 to %d bytes", leat.MaxNameBytes), Got: fmt.Sprintf("%q", name)}
	case due.Year() < 1700 || due.Year() > 2200:
		err = &leat.InvalidError{Field: fmt.Sprintf("timer %q", name), Limit: "due between the years 1700 and 2200", Got: due.Format(time.RFC3339)}
	}
	if d.add(timerSet{name, due.UTC().Round(0)}, err) {
		d.timers[name] = true
	}
}

// CancelTimer cancels a timer. One that is not set, or has fired, is no error.
func (d *Decision[S, E]) CancelTimer(name string) {
	if d.timers[name] {
		d.decided = append(d.decided, timerCancelled{name})
		delete(d.timers, name)
	}
}

// try has f decide, and takes back what it noted when it fails or panics.
func (d *Decision[S, E]) try(clone func(S) S, f func(*Decision[S, E]) error) error {
	state, timers, n := d.state, maps.Clone(d.timers), len(d.decided)
	err := guarded(func() error {
		if clone != nil {
			d.state = clone(state)
		}
		if err := f(d); err != nil {
			return err
		}
		return d.err
	})
	if err != nil {
		d.state, d.timers, d.decided, d.err = state, timers, d.decided[:n], nil
	}
	return err
}

// add notes what is to be recorded, unless it cannot be.
func (d *Decision[S, E]) add(v any, err error) bool {
	if err != nil && d.err == nil {
		d.err = Permanent(err)
	}
	if err == nil {
		d.decided = append(d.decided, v)
	}
	return err == nil
}

// What a process's stream holds beside its own events and commands. A command or
// timer is known by the version of the event that recorded it.
type (
	timerSet struct {
		Timer string    `json:"timer"`
		Due   time.Time `json:"due"`
	}
	timerCancelled struct {
		Timer string `json:"timer"`
	}
	timerFired struct {
		Timer string `json:"timer"`
		Set   uint64 `json:"set"`
	}
	commandDone struct {
		Command uint64 `json:"command"`
	}
	commandRefused struct {
		Command uint64 `json:"command"`
		Reason  string `json:"reason"`
	}
)

// The names of these in the log.
const (
	typeTimerSet       = "leat.TimerSet"
	typeTimerCancelled = "leat.TimerCancelled"
	typeTimerFired     = "leat.TimerFired"
	typeCommandDone    = "leat.CommandDone"
	typeCommandRefused = "leat.CommandRefused"
)

// Meta of what was decided on an event: its stream, and its version there.
const (
	metaInputStream  = "inputstream"
	metaInputVersion = "inputversion"
)

func inputOf(r leat.Recorded) Option {
	return WithMeta(metaInputStream, r.Stream, metaInputVersion, strconv.FormatUint(r.Version, 10))
}

// ownTypes returns the types of all that a process's streams hold.
func (p *Process[S, E, I]) ownTypes() (*Types[any], map[reflect.Type]Command, error) {
	all := NewTypes[any](
		TypeOf[timerSet](typeTimerSet), TypeOf[timerCancelled](typeTimerCancelled), TypeOf[timerFired](typeTimerFired),
		TypeOf[commandDone](typeCommandDone), TypeOf[commandRefused](typeCommandRefused),
	)
	clash := func(name string) error {
		return &leat.InvalidError{
			Field: fmt.Sprintf("Process %q: Commands", p.Name), Got: fmt.Sprintf("%q twice", name),
			Limit: "names and Go types that no other command, no event, and nothing of Leat's has",
		}
	}
	for t, name := range p.Types.encode {
		all.encode[t] = name
	}
	for name, decode := range p.Types.decode {
		if _, twice := all.decode[name]; twice {
			return nil, nil, clash(name)
		}
		all.decode[name] = decode
	}
	commands := make(map[reflect.Type]Command)
	for _, c := range p.Commands {
		if c.do == nil {
			return nil, nil, unset("Process", p.Name, "Commands: what CommandOf returns")
		}
		first := c.typ.names[0].name
		if _, twice := all.encode[c.typ.goType]; twice || first == "" || len(first) > leat.MaxNameBytes {
			return nil, nil, clash(first)
		}
		all.encode[c.typ.goType] = first
		commands[c.typ.goType] = c
		for _, n := range c.typ.names {
			if _, twice := all.decode[n.name]; twice {
				return nil, nil, clash(n.name)
			}
			all.decode[n.name] = n.decode
		}
	}
	return all, commands, nil
}

// processState is what is known of a process from its stream.
type processState[S any] struct {
	State   S
	version uint64

	inputs   map[string]input   // of each stream the last event that was decided on
	timers   map[string]pending // those that are set
	commands map[uint64]bool    // those that wait to be carried out
}

// input is an event that was decided on.
type input struct {
	version uint64
	id      string
}

// follows reports whether an event that was decided on is r, or follows it in its
// stream, so that r was handled before. After a restore, versions may come round
// again with other events; then the log does not have this one any more.
func (i input) follows(ctx context.Context, log leat.Log, r leat.Recorded) (bool, error) {
	if r.Version >= i.version {
		return r.Version == i.version && r.ID == i.id, nil
	}
	for e, err := range log.ReadStream(ctx, r.Stream, leat.Range{After: i.version - 1, Through: i.version}) {
		return e.ID == i.id, err
	}
	return false, nil
}

// pending is a timer that is set.
type pending struct {
	version uint64 // of the event that set it
	due     time.Time
	set     leat.Event // that event, without Data
}

// evolve returns the state of a stream after an event. It changes what it is
// given.
func (p *Process[S, E, I]) evolve(s processState[S], v any, of *leat.Event) processState[S] {
	if s.inputs == nil {
		s.inputs, s.timers, s.commands = make(map[string]input), make(map[string]pending), make(map[uint64]bool)
	}
	s.version++
	if stream := of.Meta.Get(metaInputStream); stream != "" {
		if version, err := strconv.ParseUint(of.Meta.Get(metaInputVersion), 10, 64); err == nil {
			s.inputs[stream] = input{version, of.Meta.Get(leat.MetaCausation)}
		}
	}
	switch v := v.(type) {
	case timerSet:
		s.timers[v.Timer] = pending{s.version, v.Due, leat.Event{ID: of.ID, Stream: of.Stream, Meta: of.Meta}}
	case timerCancelled:
		delete(s.timers, v.Timer)
	case timerFired:
		delete(s.timers, v.Timer)
	case commandDone:
		delete(s.commands, v.Command)
	case commandRefused:
		delete(s.commands, v.Command)
	default:
		if _, is := p.commands[reflect.TypeOf(v)]; is {
			s.commands[s.version] = true
		} else if e, own := v.(E); own {
			s.State = p.Evolve(s.State, e)
		}
	}
	return s
}

// cloneState returns what may be given away. Nobody outside looks at inputs.
func (p *Process[S, E, I]) cloneState(s processState[S]) processState[S] {
	if p.Clone != nil {
		s.State = p.Clone(s.State)
	}
	s.inputs = nil
	s.timers = maps.Clone(s.timers)
	s.commands = maps.Clone(s.commands)
	return s
}

// nextTimer returns the timer that is due first, no name when none is set.
func (s processState[S]) nextTimer() (name string, next pending) {
	for n, t := range s.timers {
		if name == "" || cmp.Or(t.due.Compare(next.due), cmp.Compare(t.version, next.version)) < 0 {
			name, next = n, t
		}
	}
	return name, next
}
