// Package sqlite keeps read models, checkpoints, parked events, timers, snapshots
// and outboxes in SQLite.
//
// [Open] opens a database as a service needs it, [ReadModel] makes it one that
// projections write to, and [Exec] runs statements that are prepared once:
//
//	db, err := sqlite.Open("stock.db")
//	service.Projection[*sql.Tx]{
//		Name: "stock/v1", Filter: filter, Into: sqlite.ReadModel(db),
//		Apply: service.Apply(types, func(ctx context.Context, tx *sql.Tx, e Event, r leat.Recorded) error {
//			_, err := sqlite.Exec(ctx, tx, "update stock set onhand = onhand + ? where sku = ?", …)
//			return err
//		}),
//	}
//
// # One writer, many readers
//
// SQLite has one writer at a time. Transactions begin as writers (BEGIN
// IMMEDIATE), so none fails half-way because another got in between. The
// projections of one process on one *sql.DB queue in order of arrival; other
// writers wait up to 10 s for the lock. Readers see the last committed
// transaction and wait for nobody. A handler must use the transaction it is
// given: a write through the *sql.DB would wait for the transaction it is part
// of.
//
// # Durability
//
// The log is the truth, so the database is opened with synchronous NORMAL: a
// power cut may take the last transactions, but each with its checkpoint, and
// the projection does them again. A killed process loses nothing. What a
// service keeps here that is not made from events is only as safe as that.
//
// # Outbox
//
// [Outbox.Put] is part of the service's own transaction; a service.Relay brings
// what is put there into the log: at once when it runs in the same process, on
// the same *sql.DB, within a second otherwise. What the relay is given is synced
// to the disk first, so that a power cut does not undo a change whose event is in
// the log. It may undo the last changes together with their events: a service
// that has told its callers of them sets synchronous to FULL.
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
// Times are nanoseconds since 1970; retry is 1 when the event is to be tried
// again, discarded is null unless the event is.
package sqlite
