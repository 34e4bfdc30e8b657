// Package postgres keeps read models, checkpoints, parked events, timers, snapshots
// and outboxes in PostgreSQL, through pgx.
//
// [Open] opens a database, [ReadModel] makes it one that projections write to,
// and [Queue] sends many statements in one round trip:
//
//	pool, err := postgres.Open(ctx, "postgres://stock@db/stock")
//	service.Projection[pgx.Tx]{
//		Name: "stock/v1", Filter: filter, Into: postgres.ReadModel(pool),
//		Apply: service.Apply(types, func(ctx context.Context, tx pgx.Tx, e Event, r leat.Recorded) error {
//			return postgres.Queue(ctx, tx, "update stock set onhand = onhand + $1 where sku = $2", …)
//		}),
//	}
//
// # Many writers
//
// A step of a checkpoint locks the rows of its shards, so that of two workers
// that take the same step one waits and then is fenced; workers on different
// shards do not wait for each other, unless they write the same rows of the
// service. Transactions are READ COMMITTED.
//
// A worker that hangs within a transaction holds its locks, and so would hold
// up who takes over its shard. PostgreSQL therefore ends a transaction in which
// nothing was asked for ten seconds: a handler should not wait for others, or
// compute for long, between its statements.
//
// # When something fails
//
// In PostgreSQL a statement that fails takes its whole transaction with it. A
// handler that wants to go on after an error runs the statement in a savepoint
// (tx.Begin). One that passes over an error is found, and its event parked.
//
// Deadlocks, serialization failures, lost connections, a server that restarts or
// has no space are not an event's fault: the step is tried again until it
// succeeds ([service.Transient]). What a queued statement or a deferred
// constraint refuses is told only when many events are written; the projection
// then finds the one to blame by committing them by halves ([service.Late]).
//
// # Outbox
//
// [Outbox.Put] is part of the service's own transaction; a service.Relay brings
// what is put there into the log. It is woken by LISTEN and NOTIFY at once, and
// looks each second where these do not work, as behind a pool of connections.
// Commits that notify wait for each other for a moment.
//
// # Tables
//
//	leat_application   name, log, epoch                   one row an application
//	leat_checkpoint    name, shard, seq                   how far it has got in each shard
//	leat_parked        name, stream, version, shard, seq, id, type, error, attempts, at,
//	                   retry, discarded, reason           events it could not handle
//	leat_timer         name, stream, timer, epoch, version, key, due
//	                                                      timers of processes; key is the stream's hash key
//	leat_outbox        number, stream, id, type, source, time, contenttype, data, meta,
//	                   parked                             events on their way into the log
//	leat_relay         id, owner, until                   who brings them there
//	leat_snapshot      stream, reducer, data              a cache: delete what you like, when you like
//
// They are created in the first schema of the search path when they are first
// needed; [Tables] has the statements for those who create tables themselves.
// Times are nanoseconds since 1970; retry says that the event is to be tried
// again, discarded is null unless the event is.
//
// PostgreSQL's text has no zero bytes, and only valid UTF-8, but names and
// errors may have any. In these tables a backslash is written \\, a zero byte
// and one that is not UTF-8 as \x and two hexadecimal digits. The database has
// to be in UTF8.
package postgres
