package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/leathq/leat/service"
)

// errPassedOver is the error of a handler that returned none.
var errPassedOver = errors.New("a statement failed and the handler passed over its error, but the transaction is lost with it; use a savepoint (tx.Begin)")

// judge says who is to blame for what f returned, when it was called with q: the
// event, which it leaves as it is, an earlier event, or the database.
func (q *queuedTx) judge(ctx context.Context, err error) error {
	if err == nil {
		q.flush(ctx)
	}
	q.await()
	switch {
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	case err == nil && q.failed == nil:
		if q.Conn().PgConn().TxStatus() == 'E' {
			return service.Late(errPassedOver)
		}
		return nil
	case q.Conn().IsClosed(), transient(q.failed), transient(err):
		return service.Transient(errors.Join(q.failed, err))
	case q.failed != nil:
		return service.Late(errors.Join(q.failed, err))
	case state(err) == inFailedTransaction:
		return service.Late(err) // of a statement before this one
	}
	return err
}

// judgeCommit does so for the error of a commit.
func judgeCommit(err error) error {
	if state(err) != "" && !transient(err) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return service.Late(err) // as by a deferred constraint
	}
	return err
}

const inFailedTransaction = "25P02"

// state returns the SQLSTATE of an error, empty when PostgreSQL did not answer.
func state(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// transient reports whether PostgreSQL says that the statement is not to blame.
func transient(err error) bool {
	code := state(err)
	switch code {
	case "":
		return false
	case "25006", // read-only: the server we are connected to is not the primary any more
		"55P03": // a lock was not to be had
		return true
	case "57014": // cancelled: the statement may have taken too long
		return false
	}
	switch code[:2] {
	case "08", // connection
		"40", // rolled back: deadlock, serialization
		"53", // no space, memory or connection left
		"57", // shut down, crashed, starting up
		"58": // the operating system
		return true
	}
	return false
}
