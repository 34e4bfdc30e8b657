package service

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/leathq/leat"
)

// An Option says more about a command. Later options win over earlier ones.
type Option func(*command)

// command is what is known of a command apart from its decision.
type command struct {
	id   string
	time time.Time
	meta leat.Meta

	// unasked says that the caller does not care whether a command that decided
	// nothing was carried out before, which costs an append to find out.
	unasked bool

	// parts are those that were decided on together, which have all the events;
	// none when it is one.
	parts []part
}

// A part of a command is one of those that were decided on together.
type part struct {
	command
	events int // that it decided
}

// of returns which part decided the i-th event, and the event's place among its
// own.
func (c *command) of(i int) (*command, int) {
	if len(c.parts) == 0 {
		return c, i
	}
	j := 0
	for ; i >= c.parts[j].events; j++ {
		i -= c.parts[j].events
	}
	return &c.parts[j].command, i
}

// CommandID makes Aggregate.Do carry out a command once: its events get the IDs
// id, id/2, id/3 …, and when the stream has an event with the first of them the
// command was carried out before. An ID has to be unique among the commands on
// one stream; with "/" and the number of the last event it has at most
// leat.MaxNameBytes.
func CommandID(id string) Option { return func(c *command) { c.id = id } }

// CausedBy says that a command answers an event. Its events take over the
// event's time, correlation and trace context, name the event as their cause,
// and get a command ID that is derived from the event's stream and ID and from
// step. So the command is carried out once however often the event is
// delivered. A step is needed to tell apart the commands that one event causes
// on one stream.
//
// The stream is part of it because an event ID is unique only within its
// stream: two streams' answers to one event often have the same.
func CausedBy(r leat.Recorded, step string) Option {
	return func(c *command) {
		c.id = causedID(r, step)
		c.time = r.Time
		correlation := r.Meta.Get(leat.MetaCorrelation)
		if correlation == "" {
			correlation = r.ID
		}
		meta := make(leat.Meta, 0, 3)
		meta = append(meta, leat.Attr{Key: leat.MetaCausation, Value: r.ID}, leat.Attr{Key: leat.MetaCorrelation, Value: correlation})
		if trace := r.Meta.Get(leat.MetaTraceParent); trace != "" {
			meta = append(meta, leat.Attr{Key: leat.MetaTraceParent, Value: trace})
		}
		if len(c.meta) > 0 {
			for _, a := range meta {
				c.meta = c.meta.With(a.Key, a.Value)
			}
			return
		}
		c.meta = meta
	}
}

// causedID is a digest because stream and ID may have 256 bytes each, and so
// that IDs do not grow along a chain of causes.
func causedID(r leat.Recorded, step string) string {
	var scratch [128]byte
	b := append(append(append(scratch[:0], r.Stream...), 0), r.ID...)
	sum := sha256.Sum256(b)
	var text [32]byte
	hex.Encode(text[:], sum[:16])
	return string(text[:]) + "/" + step
}

// At sets the time at which the events of a command happened. Without it they
// get the time at which the log records them.
func At(t time.Time) Option { return func(c *command) { c.time = t } }

// WithMeta adds attributes to the events of a command: key, value, key, value …
// It panics when a value is missing.
func WithMeta(pairs ...string) Option {
	add := leat.NewMeta(pairs...)
	return func(c *command) {
		if len(c.meta) == 0 {
			c.meta = add
			return
		}
		for _, a := range add {
			c.meta = c.meta.With(a.Key, a.Value)
		}
	}
}

// eventID returns the ID of the command's i-th event, empty when the command
// has none.
func (c *command) eventID(i int) string {
	if c.id == "" || i == 0 {
		return c.id
	}
	return c.id + "/" + strconv.Itoa(i+1)
}
