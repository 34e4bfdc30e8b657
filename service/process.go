package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leathq/leat"
)

// A Process is a decider that events feed: a saga, or process manager. S is its
// state, E what its own events are, I the events that feed it. Where an
// Aggregate decides on commands, a Process decides on what has happened
// elsewhere: which events of its own to record, which commands to have carried
// out, and which timers to set.
//
// All that it decides on one event is recorded on its own stream, in one Append,
// before anything of it is done. What was done is recorded there, too. So the
// stream is all the truth there is: whatever dies, is delivered twice, is
// replayed or loses its database, each event is decided on once, each command
// carried out until it succeeds and then not again, and each timer fires once.
//
// Only an event on which nothing is decided leaves no trace. Should the database
// be lost, it is decided on again, on the state as it is then. Where that must not
// happen, let React record an event of its own that says so.
//
// An App runs it as up to three applications, each with a checkpoint, and with
// parked events if there have to be any:
//
//	NAME            decides on the events that feed it
//	NAME/commands   carries out the commands on its streams
//	NAME/timers     keeps their timers, and fires those that are due
//
// Set the fields before the first use and do not copy it after; its methods are
// safe for concurrent use then.
type Process[S, E, I any] struct {
	// Name is the application's.
	Name string

	// Category is that of its streams, which nobody else writes to; Name when
	// empty. No "-" in it.
	Category string

	// Source is the service that records its events; Category when empty.
	Source string

	// Types are its own events, Evolve and Clone as those of an Aggregate.
	Types  *Types[E]
	Evolve func(s S, e E) S
	Clone  func(S) S

	// Inputs are the events that feed it. Filter may narrow them further; when
	// it has no Types, those of Inputs are meant. An event that cannot be decoded
	// is parked.
	Inputs *Types[I]
	Filter leat.Filter

	// Route returns which process an event feeds: the ID of the order, say, so
	// that its stream is Category, "-", ID. Empty: none.
	//
	// A process reads all of its stream when it is first used, and remembers each
	// stream that has fed it. So let there be one for each order, not one for all.
	Route func(e I, r leat.Recorded) string

	// React decides on an event. It may be called more than once, and does
	// nothing but decide. Its error, or panic, has the event tried again, and
	// then parked.
	//
	// Events of one stream are decided on in their order, and never after a later
	// one of theirs. Events of different streams come in any order.
	React func(d *Decision[S, E], e I, r leat.Recorded) error

	// Fired decides on a timer that is due. It is needed to set any.
	Fired func(d *Decision[S, E], timer string, due time.Time) error

	// Commands are what it can have carried out; see CommandOf.
	Commands []Command

	// Refused decides on a command whose handler returned a Permanent error. When
	// it is nil such a command is parked.
	Refused func(d *Decision[S, E], command any, reason string) error

	// Store keeps checkpoints, what is parked, and when timers are due.
	Store ProcessStore

	// Parallel is how many events, and how many commands, are handled at a time;
	// DefaultParallel when 0.
	Parallel int

	once     sync.Once
	invalid  error
	streams  *Aggregate[processState[S], any]
	waiting  waiting[I]
	commands map[reflect.Type]Command
}

// A Command is what a Process can have carried out. Make one with CommandOf.
type Command struct {
	typ Type
	do  func(ctx context.Context, command any, r leat.Recorded) error
}

// CommandOf declares a command that is recorded under a name, and what carries
// it out. Older names and forms of it are given as upcasters: a command may wait
// while the service is replaced by its next version. The names share those of
// the process's events, and so does a Go type.
//
// do is called until it succeeds; r is the command as it is recorded. It may
// have succeeded before without anybody knowing, so what it does must be safe to
// repeat: a command to an Aggregate gets the option CausedBy(r, step), a call to
// another system the same ID each time (CommandKey). Commands of one process are
// carried out one at a time, in their order. An error is tried again with
// growing pauses, and the command parked when Retry.Attempts have failed; see
// Reactor for errors that do not count. A Permanent error is an answer: see
// Process.Refused.
func CommandOf[C any](name string, do func(ctx context.Context, command C, r leat.Recorded) error, older ...Upcaster[C]) Command {
	return Command{typ: TypeOf(name, older...), do: func(ctx context.Context, command any, r leat.Recorded) error {
		return do(ctx, command.(C), r)
	}}
}

// CommandKey returns an ID for what an event, or a command of a Process, causes
// outside of the log: the same each time the event is handled, and no other
// event's. It is what CausedBy(r, step) makes the ID of a command.
func CommandKey(r leat.Recorded, step string) string { return causedID(r, step) }

// Stream returns the name of the stream of a process: Category, "-", id.
func (p *Process[S, E, I]) Stream(id string) string { return p.category() + "-" + id }

func (p *Process[S, E, I]) category() string { return cmp.Or(p.Category, p.Name) }

// Load returns the state of a process as it is now in the log.
func (p *Process[S, E, I]) Load(ctx context.Context, log leat.Log, id string) (Loaded[S], error) {
	if err := p.init(); err != nil {
		return Loaded[S]{}, err
	}
	l, err := p.streams.Load(ctx, log, id)
	return Loaded[S]{l.State.State, l.Version}, err
}

// Feed decides on an event, as an App does with each that the Filter selects,
// and records what was decided. An event that was decided on before changes
// nothing; one that feeds no process is ErrSkipped.
func (p *Process[S, E, I]) Feed(ctx context.Context, log leat.Log, r leat.Recorded) error {
	if err := p.init(); err != nil {
		return err
	}
	e, err := p.Inputs.Decode(r)
	if err != nil {
		return Permanent(err)
	}
	id := p.Route(e, r)
	if id == "" {
		return ErrSkipped
	}
	return p.feed(ctx, log, id, e, r)
}

// unasked is for commands that may have been carried out before.
func unasked(c *command) { c.unasked = true }

// carryOut carries out a command that is recorded on a process's stream, unless
// that is done.
func (p *Process[S, E, I]) carryOut(ctx context.Context, log leat.Log, r leat.Recorded) error {
	command, err := p.streams.Types.Decode(r)
	if err != nil {
		return Permanent(err)
	}
	id := strings.TrimPrefix(r.Stream, p.Stream(""))
	waits, err := p.waits(ctx, log, id, r)
	if err != nil {
		return err
	}
	if !waits {
		return ErrSkipped
	}
	err = p.commands[reflect.TypeOf(command)].do(ctx, command, r)
	switch {
	case err == nil, errors.Is(err, ErrSkipped):
		done := func(*Decision[S, E]) (any, error) { return commandDone{r.Version}, nil }
		if failed := p.settle(ctx, log, id, r, "done", done); failed != nil {
			return failed // and not that it was skipped: it is not done before that is recorded
		}
		return err
	case isPermanent(err) && !blameless(err) && p.Refused != nil:
		return p.Refuse(ctx, log, r, err.Error())
	}
	return err
}

// waits reports whether a command is still to be carried out.
func (p *Process[S, E, I]) waits(ctx context.Context, log leat.Log, id string, r leat.Recorded) (bool, error) {
	l, err := p.streams.Load(ctx, log, id)
	if err == nil && l.Version < r.Version {
		err = fmt.Errorf("%s is at version %d, its command at %d: %w", r.Stream, l.Version, r.Version, leat.ErrUnavailable)
	}
	return l.State.commands[r.Version], err
}

// Refuse tells a process that a command of its is not going to be carried out,
// as the App does when the handler returns a Permanent error; r is the command as
// it is recorded. For a command that is parked it is the way to give up: Retry
// then passes it over. A command that is done or refused stays as it is.
func (p *Process[S, E, I]) Refuse(ctx context.Context, log leat.Log, r leat.Recorded, reason string) error {
	if err := p.init(); err != nil {
		return err
	}
	if p.Refused == nil {
		return unset("Process", p.Name, "Refused")
	}
	id, own := strings.CutPrefix(r.Stream, p.Stream(""))
	command, err := p.streams.Types.Decode(r)
	if err != nil {
		return Permanent(err)
	}
	if _, is := p.commands[reflect.TypeOf(command)]; !own || !is {
		return fmt.Errorf("refuse %s: it is no command of process %q: %w", describe(r), p.Name, leat.ErrInvalid)
	}
	return p.settle(ctx, log, id, r, "refused", func(d *Decision[S, E]) (any, error) {
		return commandRefused{r.Version, reason}, p.Refused(d, command, reason)
	})
}

// settle records what became of a command, once, and what is decided on that.
func (p *Process[S, E, I]) settle(ctx context.Context, log leat.Log, id string, r leat.Recorded, step string, outcome func(*Decision[S, E]) (any, error)) error {
	_, err := p.streams.Do(ctx, log, id, func(s processState[S]) ([]any, error) {
		if !s.commands[r.Version] {
			return nil, nil
		}
		var first any
		decided, err := p.decide(s, id, func(d *Decision[S, E]) (err error) {
			first, err = outcome(d)
			return err
		})
		return append([]any{first}, decided...), err
	}, CausedBy(r, step), unasked)
	return err
}

// Fire fires the timers of a process that are due by a moment, one after the
// other, and those that are set meanwhile and due, too. An App does so when they
// are due.
func (p *Process[S, E, I]) Fire(ctx context.Context, log leat.Log, id string, by time.Time) error {
	if err := p.init(); err != nil {
		return err
	}
	if p.Fired == nil {
		return unset("Process", p.Name, "Fired")
	}
	const most = 1000
	for range most {
		l, err := p.streams.Load(ctx, log, id)
		if err != nil {
			return err
		}
		name, due := l.State.nextTimer()
		if name == "" || due.due.After(by) {
			return nil
		}
		if _, err := p.fire(ctx, log, id, Timer{Name: name, Version: due.version, Due: due.due}); err != nil {
			return err
		}
	}
	return Permanent(fmt.Errorf("%s: %d timers were due by %s, each set by the one before", p.Stream(id), most, by))
}

// fire fires a timer, unless it has fired, was cancelled or was set anew since.
// It returns the one of this name that is set then, of Version 0 when none is.
func (p *Process[S, E, I]) fire(ctx context.Context, log leat.Log, id string, timer Timer) (Timer, error) {
	var c *command // what the timer's events are made with is known once it is decided on
	r, err := p.streams.Do(ctx, log, id, func(s processState[S]) ([]any, error) {
		t, set := s.timers[timer.Name]
		if !set || t.version != timer.Version || !t.due.Equal(timer.Due) {
			return nil, nil
		}
		CausedBy(leat.Recorded{Event: t.set}, "fired")(c)
		c.time = t.due
		decided, err := p.decide(s, id, func(d *Decision[S, E]) error {
			delete(d.timers, timer.Name)
			return p.Fired(d, timer.Name, t.due)
		})
		return append([]any{timerFired{timer.Name, timer.Version}}, decided...), err
	}, func(of *command) { c = of }, unasked)
	is := r.State.timers[timer.Name]
	return Timer{Stream: p.Stream(id), Name: timer.Name, Version: is.version, Due: is.due}, err
}

// decide returns what a function decides on a state.
func (p *Process[S, E, I]) decide(s processState[S], id string, f func(*Decision[S, E]) error) ([]any, error) {
	d := p.decision(s, id)
	err := d.try(p.Clone, f)
	return d.decided, err
}

// decision returns one on which nothing is decided yet.
func (p *Process[S, E, I]) decision(s processState[S], id string) *Decision[S, E] {
	d := &Decision[S, E]{
		id: id, state: s.State, evolve: p.Evolve, timers: make(map[string]bool), rules: p,
	}
	for name := range s.timers {
		d.timers[name] = true
	}
	return d
}

// checkEvent, checkCommand and checkTimers return the error of what cannot be
// recorded.
func (p *Process[S, E, I]) checkEvent(e any) error {
	if _, is := p.Types.encode[reflect.TypeOf(e)]; !is {
		return fmt.Errorf("event of process %q: %w: Go type %T", p.Name, ErrUnknownType, e)
	}
	return nil
}

func (p *Process[S, E, I]) checkCommand(c any) error {
	if _, is := p.commands[reflect.TypeOf(c)]; !is {
		return fmt.Errorf("command of process %q: %w: Go type %T", p.Name, ErrUnknownType, c)
	}
	return nil
}

func (p *Process[S, E, I]) checkTimers() error {
	if p.Fired == nil {
		return unset("Process", p.Name, "Fired")
	}
	return nil
}

// init makes what serves the process's streams, or says why it cannot.
func (p *Process[S, E, I]) init() error {
	p.once.Do(func() {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"Types", p.Types != nil},
			{"Evolve", p.Evolve != nil},
			{"Inputs", p.Inputs != nil},
			{"Route", p.Route != nil},
			{"React", p.React != nil},
		} {
			if !f.set {
				p.invalid = unset("Process", p.Name, f.name)
				return
			}
		}
		types, commands, err := p.ownTypes()
		if err != nil {
			p.invalid = err
			return
		}
		p.commands = commands
		p.streams = &Aggregate[processState[S], any]{
			Category: p.category(), Source: p.Source, Types: types, Clone: p.cloneState, evolve: p.evolve,
		}
	})
	return p.invalid
}

func (p *Process[S, E, I]) validate() error {
	if err := p.init(); err != nil {
		return err
	}
	switch {
	case p.Store == nil:
		return unset("Process", p.Name, "Store")
	case p.Parallel < 0:
		return &leat.InvalidError{Field: fmt.Sprintf("Process %q: Parallel", p.Name), Limit: "not negative", Got: fmt.Sprint(p.Parallel)}
	case len(p.Name)+len("/commands") > leat.MaxNameBytes:
		return &leat.InvalidError{Field: "Process.Name", Limit: fmt.Sprintf(`%d bytes with "/commands"`, leat.MaxNameBytes), Got: fmt.Sprintf("%q", p.Name)}
	}
	if c := p.category(); strings.Contains(c, "-") || strings.HasPrefix(c, "$") {
		return &leat.InvalidError{Field: fmt.Sprintf("Process %q: Category", p.Name), Limit: `a name without "-" that does not start with "$"`, Got: fmt.Sprintf("%q", c)}
	}
	return validate("Process", p.Name, p.Filter)
}

func (p *Process[S, E, I]) start(env env) ([]*fleet, []*relayRun) {
	filter := p.Filter
	if len(filter.Types) == 0 {
		filter.Types = p.Inputs.Names()
	}
	all := []*fleet{Reactor{
		Name: p.Name, Filter: filter, Checkpoints: p.Store, Parallel: p.Parallel,
		React: func(ctx context.Context, r leat.Recorded) error { return p.Feed(ctx, env.log, r) },
	}.fleet(env)}
	if len(p.commands) > 0 {
		all = append(all, Reactor{
			Name: p.Name + "/commands", Checkpoints: p.Store, Parallel: p.Parallel,
			Filter: leat.Filter{Categories: []string{p.category()}, Types: p.commandNames()},
			React:  func(ctx context.Context, r leat.Recorded) error { return p.carryOut(ctx, env.log, r) },
		}.fleet(env))
	}
	if p.Fired != nil {
		all = append(all, startTimers(env, p.Name, p.category(), p.Store, p.fire))
	}
	return all, nil
}

func (p *Process[S, E, I]) commandNames() (names []string) {
	for _, c := range p.commands {
		for _, n := range c.typ.names {
			names = append(names, n.name)
		}
	}
	slices.Sort(names)
	return names
}

// EncodeCommand returns the type and data under which a command is recorded. The
// error wraps ErrUnknownType when its Go type is not declared.
func (p *Process[S, E, I]) EncodeCommand(command any) (typ string, data []byte, err error) {
	if err := p.init(); err != nil {
		return "", nil, err
	}
	if err := p.checkCommand(command); err != nil {
		return "", nil, err
	}
	return p.streams.Types.Encode(command)
}
