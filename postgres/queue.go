package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// queueLength is how many statements are sent at a time. PostgreSQL works on them
// while those to come are queued.
const queueLength = 200

// Queue runs a statement whose result nobody needs in the transaction that a
// projection's Apply was given. It is sent together with others, so that a round
// trip is paid once for many: at the latest before anything else is done with
// the transaction, which therefore sees what was queued, and before the commit.
// Only what goes around the transaction, to tx.Conn, may overtake it.
//
// An error of the statement is told when it is sent, and ends the transaction;
// the projection finds the event to blame. Arguments must not be changed
// afterwards. Queries should be constants: pgx prepares each once for a
// connection.
//
// In any other transaction the statement runs at once.
func Queue(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
	q, ok := tx.(*queuedTx)
	if !ok {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}
	if q.queue == nil {
		q.queue = &pgx.Batch{}
	}
	q.queue.Queue(query, args...)
	if q.queue.Len() >= queueLength {
		q.send(ctx)
	}
	return q.failed
}

// A queuedTx is a transaction that begins what it is asked for by sending what
// is queued. Should that fail, so will everything after it.
type queuedTx struct {
	pgx.Tx
	queue  *pgx.Batch
	sent   pgx.BatchResults // of statements that PostgreSQL works on meanwhile; nil when there are none
	failed error            // the first of a queued statement
}

// send sends what is queued, and does not wait for it.
func (q *queuedTx) send(ctx context.Context) {
	q.await()
	if q.queue == nil {
		return
	}
	q.sent, q.queue = q.Tx.SendBatch(ctx, q.queue), nil
}

// await waits for what was sent.
func (q *queuedTx) await() {
	if q.sent == nil {
		return
	}
	err := q.sent.Close()
	q.sent = nil
	if err != nil && q.failed == nil {
		q.failed = fmt.Errorf("queued statement: %w", err)
	}
}

// flush sends what is queued, and waits for it.
func (q *queuedTx) flush(ctx context.Context) {
	q.send(ctx)
	q.await()
}

var errNotYours = errors.New("the transaction ends with the handler, which must not end it itself")

// Commit refuses: the transaction is not the handler's.
func (q *queuedTx) Commit(context.Context) error { return errNotYours }

// Rollback refuses, too: a handler returns an error.
func (q *queuedTx) Rollback(context.Context) error { return errNotYours }

// Begin begins a savepoint.
func (q *queuedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	q.flush(ctx)
	return q.Tx.Begin(ctx)
}

// CopyFrom implements pgx.Tx.
func (q *queuedTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	q.flush(ctx)
	return q.Tx.CopyFrom(ctx, table, columns, rows)
}

// SendBatch implements pgx.Tx.
func (q *queuedTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	q.flush(ctx)
	return q.Tx.SendBatch(ctx, b)
}

// Exec implements pgx.Tx.
func (q *queuedTx) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	q.flush(ctx)
	return q.Tx.Exec(ctx, query, args...)
}

// Query implements pgx.Tx.
func (q *queuedTx) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	q.flush(ctx)
	return q.Tx.Query(ctx, query, args...)
}

// QueryRow implements pgx.Tx.
func (q *queuedTx) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	q.flush(ctx)
	return q.Tx.QueryRow(ctx, query, args...)
}
