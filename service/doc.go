// Package service is the SDK for services that keep their history in a log.
//
// # Write
//
// [Types] says which Go types a service's events have and what they are called
// in the log. An [Aggregate] carries out commands on one stream: it loads the
// state, lets a function decide, and appends the events that were decided at
// the version that was loaded. [Snapshots] keep states of long streams, as a
// cache; Aggregate.LoadAt and LoadVersion rebuild any state there ever was.
//
// # Read
//
// A [Projection] folds events into the service's own database, in order and
// exactly once in effect: its writes and its checkpoint are one transaction of
// a [ReadModel]. A [Reactor] answers events with commands, at least once; the
// commands are carried out once because their IDs are derived from the event
// that caused them ([CausedBy]). A [Forwarder] hands events on to another
// system, at least once and under the ID they have. An [App] runs them all.
//
// # Keep state, and tell
//
// A service that keeps plain state rather than its history puts events into an
// [Outbox] of its database, in the transaction of its own change. A [Relay] brings
// them into the log, each once.
//
// # Act over time
//
// A [Process] decides on events as an Aggregate decides on commands: which
// events of its own to record, which commands to have carried out, which timers
// to set. All of it is recorded on its own stream before it happens, and what
// became of it after; so nothing is sent twice or lost, whatever dies or is
// replayed.
//
// # Share the work
//
// An App works on the shards of the log side by side, on a child after its
// parents. With a keeper of leases ([Config.Leases]) several
// processes make a fleet: each works on its part of the shards, and takes over
// those of a process that is gone. A process that lost a shard without noticing
// is fenced by the checkpoint.
//
// # When an event cannot be handled
//
// It is tried again with growing pauses. When [Retry.Attempts] have failed, or
// the error is [Permanent], the event is parked: set aside in the service's
// database, with its error, together with the checkpoint. Every later event of
// the same stream is parked behind it, so that a stream is never handled out of
// order; other streams go on. See [CheckpointStore] for what to do with parked
// events, and leat parked to do it from a shell.
//
// # How it fares
//
// Every application keeps a ledger ([App.Status]): what became of the events of
// each shard, how far behind it is, and how fast. When the log is at a server the
// App reports it there, for leat apps and metrics to show ([Config.Reporter]).
// [App.Pause] holds an application still in one process, leat apps pause in all.
//
// # A new version
//
// A projection with a new name builds up its read model beside the old one. With
// Projection.Rebuild it is quiet meanwhile: what the old one has done about past
// events is not done again ([Replaying], [App.WaitRebuilt]). Projection.Reset
// starts over in place.
//
// The package imports only the standard library and package leat.
package service
