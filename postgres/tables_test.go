package postgres_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/postgres"
	"github.com/leathq/leat/service"
)

// While one waits for a database that does not answer, the next goes when it has
// waited long enough.
func TestTablesOfADatabaseThatHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	config, err := pgxpool.ParseConfig("postgres://nobody@" + listener.Addr().String() + "/none?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	model := postgres.ReadModel(pool)

	first, giveUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := model.Checkpoint(first, "x")
		ended <- err
	}()
	conn, err := listener.Accept() // it waits for an answer now
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	second, cancel := context.WithCancel(t.Context())
	cancel()
	gone := make(chan error, 1)
	go func() {
		_, err := model.Checkpoint(second, "x")
		gone <- err
	}()
	select {
	case err := <-gone:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose context has ended: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a call whose context has ended waits for another to create the tables")
	}
	giveUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context ended meanwhile: %v", err)
	}
}

// A database with the timers of an earlier version gets what it lacks.
func TestTablesOfAnEarlierVersion(t *testing.T) {
	url := pgtest.Database(t)
	pool := open(t, url)
	exec(t, pool, postgres.Tables)
	exec(t, pool, "alter table leat_timer drop column epoch")
	exec(t, pool, "insert into leat_timer (name, stream, timer, version, key, due) values ('x', 'p-1', 't', 3, '', 7)")
	timer := service.Timer{Stream: "p-1", Name: "t", Epoch: 1, Version: 1, Due: time.Unix(9, 0)}
	for range 2 { // and is left alone then
		if err := postgres.ReadModel(pool).SetTimer(t.Context(), "x", timer); err != nil {
			t.Fatal(err)
		}
	}
}
