package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/leathq/leat"
	"github.com/redis/rueidis"
)

// All events are in one Redis stream, so that they have an order; a list for
// each stream of events holds the IDs of its entries, so that its length is the
// version.
const (
	redisEvents = "events"
	redisStream = "stream:" // and the name of a stream of events
	redisPage   = 1000      // entries of a replay in one answer
)

var (
	redisAppend = rueidis.NewLuaScript(`
		if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[1]) then
			return redis.error_reply('CONFLICT the stream has another version')
		end
		local ids = {}
		for i = 2, #ARGV do
			ids[i - 1] = redis.call('XADD', KEYS[1], '*', 'e', ARGV[i])
		end
		return redis.call('RPUSH', KEYS[2], unpack(ids))`)

	redisLoad = rueidis.NewLuaScriptReadOnly(`
		local events = {}
		for i, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
			events[i] = redis.call('XRANGE', KEYS[1], id, id)[1][2][2]
		end
		return events`)
)

type redisStore struct {
	client rueidis.Client
	name   string
	closers
}

func openRedis(ctx context.Context, dir string) (_ store, err error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errMissing{"apt-get install redis-server"}
	}
	s := &redisStore{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.CommandContext(untilStopped(ctx), bin,
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--daemonize", "no",
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0")
	p, err := startProcess(dir, syscall.SIGTERM, cmd)
	if err != nil {
		return nil, err
	}
	s.add(p.stop)
	option, err := rueidis.ParseURL("unix://" + socket)
	if err != nil {
		return nil, err
	}
	option.DisableCache = true
	option.DisableRetry = true // an append sent twice would find the version its own
	err = p.await(ctx, func(ctx context.Context) (err error) {
		s.client, err = rueidis.NewClient(option)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.add(func() error { s.client.Close(); return nil })
	info, err := s.client.Do(ctx, s.client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return nil, err
	}
	_, info, _ = strings.Cut(info, "redis_version:")
	s.name, _, _ = strings.Cut(info, "\r")
	return s, nil
}

func (s *redisStore) version() string { return s.name }

func (s *redisStore) append(ctx context.Context, at head, events []leat.Event) (head, error) {
	call := redisCall(events[0].Stream, at.version)
	for i := range events {
		call.Args = append(call.Args, rueidis.BinaryString(encode(nil, &events[i], at.version+uint64(i)+1)))
	}
	err := redisAppend.Exec(ctx, s.client, call.Keys, call.Args).Error()
	if refused, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(refused.Error(), "CONFLICT") {
		return at, errConflict
	}
	if err != nil {
		return at, err
	}
	return head{version: at.version + uint64(len(events))}, nil
}

func redisCall(stream string, expected uint64) rueidis.LuaExec {
	return rueidis.LuaExec{
		Keys: []string{redisEvents, redisStream + stream},
		Args: []string{strconv.FormatUint(expected, 10)},
	}
}

func (s *redisStore) fill(ctx context.Context, events []leat.Recorded) error {
	calls := make([]rueidis.LuaExec, len(events))
	for i := range events {
		e := &events[i]
		calls[i] = redisCall(e.Stream, e.Version-1)
		calls[i].Args = append(calls[i].Args, rueidis.BinaryString(encode(nil, &e.Event, e.Version)))
	}
	var errs []error
	for _, result := range redisAppend.ExecMulti(ctx, s.client, calls...) {
		errs = append(errs, result.Error())
	}
	return errors.Join(errs...)
}

func (s *redisStore) replay(ctx context.Context, visit visitor) error {
	for from := "-"; ; {
		entries, err := s.client.Do(ctx, s.client.B().Xrange().Key(redisEvents).Start(from).End("+").Count(redisPage).Build()).ToArray()
		if err != nil {
			return err
		}
		for i := range entries {
			entry, err := entries[i].ToArray()
			if err != nil || len(entry) != 2 {
				return errors.Join(errEncoding, err)
			}
			fields, err := entry[1].ToArray()
			if err != nil || len(fields) != 2 {
				return errors.Join(errEncoding, err)
			}
			if err := redisVisit(fields[1], visit); err != nil {
				return err
			}
			if from, err = entry[0].ToString(); err != nil {
				return err
			}
		}
		if len(entries) < redisPage {
			return nil
		}
		from = "(" + from
	}
}

func (s *redisStore) load(ctx context.Context, stream string, visit visitor) error {
	events, err := redisLoad.Exec(ctx, s.client, []string{redisEvents, redisStream + stream}, nil).ToArray()
	if err != nil {
		return err
	}
	for i := range events {
		if err := redisVisit(events[i], visit); err != nil {
			return err
		}
	}
	return nil
}

func redisVisit(message rueidis.RedisMessage, visit visitor) error {
	b, err := message.AsBytes()
	if err != nil {
		return err
	}
	var r leat.Recorded
	if err := decode(&r, b); err != nil {
		return err
	}
	return visit(&r)
}
