package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/leathq/leat"
)

// Tables creates the tables of this package unless they exist.
const Tables = `
create table if not exists leat_application (
	name  text collate "C" not null primary key,
	log   text not null,
	epoch bigint not null
);
create table if not exists leat_checkpoint (
	name  text collate "C" not null,
	shard text collate "C" not null,
	seq   bigint not null,
	primary key (name, shard)
);
create table if not exists leat_parked (
	name      text collate "C" not null,
	stream    text collate "C" not null,
	version   bigint not null,
	shard     text not null,
	seq       bigint not null,
	id        text not null,
	type      text not null,
	error     text not null,
	attempts  bigint not null,
	at        bigint not null,
	retry     boolean not null default false,
	discarded bigint,
	reason    text not null default '',
	primary key (name, stream, version)
);
create index if not exists leat_parked_waits on leat_parked (name, stream) where discarded is null;
create table if not exists leat_timer (
	name    text collate "C" not null,
	stream  text collate "C" not null,
	timer   text collate "C" not null,
	epoch   bigint not null default 0,
	version bigint not null,
	key     bytea not null,
	due     bigint not null,
	primary key (name, stream, timer)
);
alter table leat_timer add column if not exists epoch bigint not null default 0;
create index if not exists leat_timer_due on leat_timer (name, due);
create table if not exists leat_snapshot (
	stream  text collate "C" not null,
	reducer text collate "C" not null,
	data    bytea not null,
	primary key (stream, reducer)
);
create table if not exists leat_outbox (
	number      bigint generated always as identity primary key,
	stream      text not null,
	id          text not null,
	type        text not null,
	source      text not null,
	time        bigint not null,
	contenttype text not null,
	data        bytea not null,
	meta        text not null,
	parked      boolean not null default false
);
create index if not exists leat_outbox_waits on leat_outbox (number) where not parked;
create table if not exists leat_relay (
	id    int primary key,
	owner text not null,
	until timestamptz not null
);`

// allExist reports whether everything in Tables is there: what came last is.
const allExist = `exists (select from pg_attribute where attrelid = to_regclass('leat_timer') and attname = 'epoch')
	and to_regclass('leat_relay') is not null`

// tablesLock is held by who creates tables: "if not exists" does not keep two
// from creating the same one, and one of them from failing.
const tablesLock = 0x6c656174 // "leat"

// createTables creates the tables. It does not try when they exist, since not
// everybody may.
func (m *Model) createTables(ctx context.Context) error {
	if m.ready.Load() {
		return nil
	}
	select {
	case m.creating <- struct{}{}:
		defer func() { <-m.creating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.ready.Load() {
		return nil
	}
	var encoding string
	var exist bool
	err := m.pool.QueryRow(ctx, "select current_setting('server_encoding'), "+allExist).Scan(&encoding, &exist)
	if err != nil {
		return err
	}
	if encoding != "UTF8" {
		return &leat.InvalidError{Field: "encoding of the database", Limit: "UTF8, as not every name can be kept otherwise", Got: encoding}
	}
	if !exist {
		err := pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", tablesLock); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, Tables)
			return err
		})
		if err != nil {
			return fmt.Errorf("create tables (postgres.Tables has the statements, for somebody who may): %w", err)
		}
	}
	m.ready.Store(true)
	return nil
}
