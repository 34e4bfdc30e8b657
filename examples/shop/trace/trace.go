// Package trace keeps, in a service's own database, which events made a thing
// what it is, and which event caused each of them.
package trace

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/examples/shop/database"
)

// Schema makes the table that Record writes to.
const Schema = `
create table if not exists trace (
	stream      text not null,
	version     bigint not null,
	id          text not null,
	type        text not null,
	cause       text not null,
	correlation text not null,
	time        bigint not null, -- microseconds since 1970
	primary key (stream, version)
);`

// An Event is one that made a thing what it is.
type Event struct {
	ID       string    `json:"id"`
	Stream   string    `json:"stream"`
	Version  uint64    `json:"version"`
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	CausedBy string    `json:"causedBy,omitempty"` // ID of the event that it answers; empty when a person gave the command

	// Correlation is the ID of the event that began it all.
	Correlation string `json:"correlation"`
}

// Record keeps an event.
func Record(ctx context.Context, exec database.Exec, r leat.Recorded) error {
	return exec(ctx, `insert into trace (stream, version, id, type, cause, correlation, time) values ($1, $2, $3, $4, $5, $6, $7)`,
		r.Stream, int64(r.Version), r.ID, r.Type, r.Meta.Get(leat.MetaCausation), Correlation(r), r.Time.UnixMicro())
}

// Of returns the events of a stream that were kept, oldest first.
func Of(ctx context.Context, db *sql.DB, stream string) ([]Event, error) {
	var events []Event
	err := database.Each(ctx, db,
		func(row database.Scanner) (Event, error) {
			e := Event{Stream: stream}
			var version, at int64
			err := row.Scan(&version, &e.ID, &e.Type, &e.CausedBy, &e.Correlation, &at)
			e.Version, e.Time = uint64(version), time.UnixMicro(at).UTC()
			return e, err
		},
		func(e Event) error { events = append(events, e); return nil },
		`select version, id, type, cause, correlation, time from trace where stream = $1 order by version`, stream)
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", stream, err)
	}
	return events, nil
}

// Correlation returns the ID of the event that began the chain r belongs to.
func Correlation(r leat.Recorded) string {
	if c := r.Meta.Get(leat.MetaCorrelation); c != "" {
		return c
	}
	return r.ID
}
