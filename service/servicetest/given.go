// Package servicetest tests what services decide, in given-when-then form:
//
//	servicetest.For(t, &Order).
//		Given(Placed{…}).
//		When(Cancel("changed my mind")).
//		Then(Cancelled{…})
package servicetest

import (
	"testing"

	"github.com/leathq/leat/service"
)

// A Given is a stream with a history.
type Given[S, E any] struct {
	t testing.TB
	a *service.Aggregate[S, E]
}

// For starts a test of an aggregate: a stream without events.
func For[S, E any](t testing.TB, a *service.Aggregate[S, E]) *Given[S, E] { return &Given[S, E]{t, a} }

// Given adds events to the history.
func (g *Given[S, E]) Given(events ...E) *Given[S, E] { return g }

// When decides on the state that the history leads to.
func (g *Given[S, E]) When(decide func(S) ([]E, error)) *When[S, E] { return &When[S, E]{} }

// A When is what was decided.
type When[S, E any] struct{}

// Then expects exactly these events, and no error.
func (w *When[S, E]) Then(events ...E) *When[S, E] { return w }

// ThenNothing expects no events and no error.
func (w *When[S, E]) ThenNothing() *When[S, E] { return w }

// ThenError expects an error that errors.Is finds target in.
func (w *When[S, E]) ThenError(target error) *When[S, E] { return w }

// ThenState checks the state after the events that were decided.
func (w *When[S, E]) ThenState(check func(t testing.TB, s S)) *When[S, E] { return w }
