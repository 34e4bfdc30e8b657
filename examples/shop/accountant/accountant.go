// Package accountant is somebody outside of the shop who keeps its books: all
// that billing records comes to it by webhook, signed, and it knows nothing of
// the log. What comes again it has already, so it books each paper's events once,
// and it notices if one overtakes another.
package accountant

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/web"
	"github.com/leathq/leat/forward/webhook"
)

//go:embed schema.sql
var schema string

// An Accountant keeps books in a database of its own. It is safe for concurrent
// use.
type Accountant struct {
	db     *sql.DB
	secret webhook.Secret
}

// Open opens the books in a file, which is created when it does not exist. Only
// requests that are signed with the secret are booked.
func Open(ctx context.Context, path string, secret webhook.Secret) (*Accountant, error) {
	db, err := database.Open(ctx, path, schema)
	if err != nil {
		return nil, fmt.Errorf("open the accountant's books: %w", err)
	}
	return &Accountant{db: db, secret: secret}, nil
}

// Close closes the books.
func (a *Accountant) Close() error { return a.db.Close() }

// Path is where the webhook is.
const Path = "/accountant/events"

// Routes adds what the accountant answers.
func (a *Accountant) Routes(m *web.Mux) {
	hook := webhook.Verifier{Secrets: []webhook.Secret{a.secret}}.Handler(a.book)
	m.Handle("POST "+Path, func(w http.ResponseWriter, r *http.Request) error {
		hook.ServeHTTP(w, r)
		return nil
	})
	m.Handle("GET /accountant/-/report", func(w http.ResponseWriter, r *http.Request) error {
		report, err := a.Report(r.Context())
		if err != nil {
			return err
		}
		return web.Answer(w, http.StatusOK, report)
	})
}

// book books events that are not booked yet, all or none.
func (a *Accountant) book(ctx context.Context, events []leat.Event) error {
	tx, err := a.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("book events: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // it is committed, or the first error counts
	for _, e := range events {
		if err := bookOne(ctx, tx, e); err != nil {
			return fmt.Errorf("book event %s of %s: %w", e.ID, e.Stream, err)
		}
	}
	return tx.Commit()
}

func bookOne(ctx context.Context, tx *sql.Tx, e leat.Event) error {
	var paper struct {
		Amount int64 `json:"amount"`
	}
	if err := json.Unmarshal(e.Data, &paper); err != nil {
		return err
	}
	sequence := e.Meta.Get("sequence")
	result, err := tx.ExecContext(ctx,
		`insert into events (stream, id, sequence, type, amount, late)
		 values (?1, ?2, ?3, ?4, ?5, exists (select 1 from events where stream = ?1 and sequence > ?3))
		 on conflict do nothing`,
		e.Stream, e.ID, sequence, e.Type, paper.Amount)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `update again set events = events + 1`)
	return err
}

// A Report is what the books come to. Amounts are in tenths of a penny.
type Report struct {
	Events  map[string]int64 `json:"events"`  // of each type, each once
	Amounts map[string]int64 `json:"amounts"` // of each type, added up
	Late    int64            `json:"late"`    // events that came after a later one of their stream
	Again   int64            `json:"again"`   // events that came again, and were not booked again
}

// Report adds the books up.
func (a *Accountant) Report(ctx context.Context) (r Report, err error) {
	if r.Events, err = database.Sums(ctx, a.db, `select type, count(*) from events group by type`); err != nil {
		return Report{}, fmt.Errorf("count events: %w", err)
	}
	if r.Amounts, err = database.Sums(ctx, a.db, `select type, sum(amount) from events group by type`); err != nil {
		return Report{}, fmt.Errorf("add up amounts: %w", err)
	}
	row := a.db.QueryRowContext(ctx, `select (select count(*) from events where late), (select events from again)`)
	if err := row.Scan(&r.Late, &r.Again); err != nil {
		return Report{}, fmt.Errorf("look for events that overtook others: %w", err)
	}
	return r, nil
}
