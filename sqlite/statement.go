package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxStatements bounds the statements that a Model keeps prepared. Further ones
// work as well, but are prepared each time.
const maxStatements = 256

// Exec runs a statement in the transaction that a projection's Apply was given,
// with the context it was given. It does what tx.ExecContext does, in a third of
// the time: the statement is prepared once for a connection, and no goroutine
// watches ctx while it runs. It ends when it is done, and the transaction fails
// if ctx has ended then.
//
// Queries should be constants; values are arguments. The first 256 queries of a
// Model are kept prepared.
func Exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	s, err := statement(ctx, tx, query) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return nil, err
	}
	if s == nil {
		return tx.ExecContext(ctx, query, args...)
	}
	return s.ExecContext(unwatched(ctx), args...)
}

// Query runs a statement that returns rows, as Exec.
func Query(ctx context.Context, tx *sql.Tx, query string, args ...any) (*sql.Rows, error) {
	s, err := statement(ctx, tx, query) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return nil, err
	}
	if s == nil {
		return tx.QueryContext(ctx, query, args...)
	}
	return s.QueryContext(unwatched(ctx), args...)
}

// QueryRow runs a statement that returns at most one row, as Exec.
func QueryRow(ctx context.Context, tx *sql.Tx, query string, args ...any) *sql.Row {
	s, err := statement(ctx, tx, query) //nolint:sqlclosecheck // it ends with the transaction
	if s == nil || err != nil {
		return tx.QueryRowContext(ctx, query, args...)
	}
	return s.QueryRowContext(unwatched(ctx), args...)
}

// unwatched keeps the driver from starting a goroutine for each statement only
// to interrupt it when ctx ends.
func unwatched(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// prepared holds the statements of a Model across transactions.
type prepared struct {
	db *sql.DB

	mu      sync.Mutex
	queries map[string]*sql.Stmt
	wanted  []string // queries that were prepared in a transaction, for it alone
}

// prepare prepares what was wanted in earlier transactions. It is called outside
// of one, because preparing takes a connection, and there may be only one. What
// cannot be prepared, as its table is gone again, is left to those who run it.
func (p *prepared) prepare(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, query := range p.wanted {
		if _, known := p.queries[query]; known || len(p.queries) == maxStatements {
			continue
		}
		s, err := p.db.PrepareContext(ctx, query) //nolint:sqlclosecheck // it is kept until the database is closed
		if err != nil {
			continue
		}
		if p.queries == nil {
			p.queries = make(map[string]*sql.Stmt)
		}
		p.queries[query] = s
	}
	p.wanted = nil
}

func (p *prepared) get(query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queries[query]
}

func (p *prepared) want(query string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.wanted) < maxStatements {
		p.wanted = append(p.wanted, query)
	}
}

// inTx holds the statements of one transaction. It travels in its context and
// belongs to the goroutine that runs the transaction.
type inTx struct {
	tx       *sql.Tx
	prepared *prepared
	queries  map[string]*sql.Stmt
}

type inTxKey struct{}

// statement returns the statement of a query in tx, nil when it is not one that
// is kept.
func statement(ctx context.Context, tx *sql.Tx, query string) (*sql.Stmt, error) {
	in, _ := ctx.Value(inTxKey{}).(*inTx)
	if in == nil || in.tx != tx {
		return nil, nil
	}
	if s := in.queries[query]; s != nil {
		return s, nil
	}
	s := in.prepared.get(query)
	switch {
	case s != nil:
		s = tx.StmtContext(ctx, s)
	case len(in.queries) >= maxStatements:
		return nil, nil
	default:
		var err error
		if s, err = tx.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		in.prepared.want(query)
	}
	in.queries[query] = s
	return s, nil
}

// noRows reports whether Scan found no row.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
