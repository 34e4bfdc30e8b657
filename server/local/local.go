// Package local lets a server keep each log in a directory of its own, with
// package engine.
package local

import (
	"github.com/leathq/leat"
	"github.com/leathq/leat/engine"
	"github.com/leathq/leat/server"
)

// Engine is the server.Engine that makes logs with these options.
type Engine struct{ Options engine.Options }

// Create implements server.Engine.
func (e Engine) Create(dir string, c leat.Config) (server.Log, error) {
	l, err := engine.Create(dir, c, e.Options)
	if err != nil {
		return nil, err
	}
	return log{l}, nil
}

// Open implements server.Engine.
func (e Engine) Open(dir string) (server.Log, error) {
	l, err := engine.Open(dir, e.Options)
	if err != nil {
		return nil, err
	}
	return log{l}, nil
}

type log struct{ *engine.Log }

func (l log) Stats() server.Stats {
	s := l.Log.Stats()
	return server.Stats{
		Groups: s.Groups, DiskBytes: s.DiskBytes, MemoryBytes: s.MemoryBytes, ClockBehind: s.ClockBehind,
		Full: s.Full, Stopped: s.Stopped, Figures: figures(s),
	}
}
