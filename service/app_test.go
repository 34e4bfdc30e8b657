package service_test

import (
	"context"
	"errors"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/leattest"
	"github.com/leathq/leat/service"
	"github.com/leathq/leat/service/servicetest"
)

func TestNewAppNamesTheFieldThatIsWrong(t *testing.T) {
	log := newLog(t, leat.Config{})
	model := servicetest.NewMemory()
	p := func(spoil func(*service.Projection[*tx])) service.Runner {
		p := history("p", model)
		spoil(&p)
		return p
	}
	r := func(spoil func(*service.Reactor)) service.Runner {
		r := service.Reactor{Name: "r", Checkpoints: model, React: func(context.Context, leat.Recorded) error { return nil }}
		spoil(&r)
		return r
	}
	for _, c := range []struct {
		names   string
		config  service.Config
		runners []service.Runner
	}{
		{"Config.Log", service.Config{}, []service.Runner{p(func(*service.Projection[*tx]) {})}},
		{"Config.Drain", service.Config{Log: log, Drain: -1}, []service.Runner{p(func(*service.Projection[*tx]) {})}},
		{"Config.Retry", service.Config{Log: log, Retry: service.Retry{Attempts: -1}}, []service.Runner{p(func(*service.Projection[*tx]) {})}},
		{"runners", service.Config{Log: log}, nil},
		{"runners[0]", service.Config{Log: log}, []service.Runner{nil}},
		{`"p" twice`, service.Config{Log: log}, []service.Runner{p(func(*service.Projection[*tx]) {}), p(func(*service.Projection[*tx]) {})}},
		{"Projection.Name", service.Config{Log: log}, []service.Runner{p(func(p *service.Projection[*tx]) { p.Name = "" })}},
		{`Relay "r": Outbox`, service.Config{Log: log}, []service.Runner{service.Relay{Name: "r"}}},
		{`Relay.Name`, service.Config{Log: log}, []service.Runner{service.Relay{Outbox: noOutbox{}}}},
		{`"r" twice`, service.Config{Log: log}, []service.Runner{service.Relay{"r", noOutbox{}}, service.Relay{"r", noOutbox{}}}},
		{`"r" twice`, service.Config{Log: log}, []service.Runner{&service.Relay{"r", noOutbox{}}, service.Relay{"r", noOutbox{}}}},
		{`Projection "p": Apply`, service.Config{Log: log}, []service.Runner{p(func(p *service.Projection[*tx]) { p.Apply = nil })}},
		{`Projection "p": Into`, service.Config{Log: log}, []service.Runner{p(func(p *service.Projection[*tx]) { p.Into = nil })}},
		{`Projection "p": Filter.Categories`, service.Config{Log: log}, []service.Runner{p(func(p *service.Projection[*tx]) { p.Filter.Categories = []string{"a-1"} })}},
		{`Projection "p": Filter.Types`, service.Config{Log: log}, []service.Runner{p(func(p *service.Projection[*tx]) { p.Filter.Types = []string{""} })}},
		{"Reactor.Name", service.Config{Log: log}, []service.Runner{r(func(r *service.Reactor) { r.Name = strings.Repeat("x", 257) })}},
		{`Reactor "r": React`, service.Config{Log: log}, []service.Runner{r(func(r *service.Reactor) { r.React = nil })}},
		{`Reactor "r": Checkpoints`, service.Config{Log: log}, []service.Runner{r(func(r *service.Reactor) { r.Checkpoints = nil })}},
		{`Reactor "r": Parallel`, service.Config{Log: log}, []service.Runner{r(func(r *service.Reactor) { r.Parallel = -1 })}},
	} {
		_, err := service.NewApp(c.config, c.runners...)
		if !errors.Is(err, leat.ErrInvalid) || !strings.Contains(err.Error(), c.names) {
			t.Errorf("error %v, want ErrInvalid naming %s", err, c.names)
		}
	}
}

func TestAppStopsAllWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		bad := history("bad", servicetest.NewMemory())
		bad.Then = func(context.Context) error { return service.Permanent(errBroken) }
		app := start(t, log, history("good", servicetest.NewMemory()), bad)
		app.endsWith(errBroken)
		if !strings.Contains(app.err.Error(), `"bad"`) {
			t.Errorf("Run: %v, want the application's name", app.err)
		}
		if err := app.app.Run(t.Context()); err == nil || errors.Is(err, errBroken) {
			t.Errorf("a second Run: %v, want an error of its own", err)
		}
		fill(t, log, "a-1")
		to, err := leat.Start(t.Context(), log, leat.Now)
		ok(t, err)
		if err := app.app.WaitCaughtUp(t.Context(), to); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("WaitCaughtUp after the end: %v, want that it has ended", err)
		}
	})
}

func TestAppRefusesAFilterThatTheLogCannotEvaluate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := history("h", servicetest.NewMemory())
		p.Filter.Where = "event.data.units > 1"
		start(t, newLog(t, leat.Config{}), p).endsWith(leat.ErrUnsupported)
	})
}

func TestWaitCaughtUpSaysWhoLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		slow := history("slow", servicetest.NewMemory())
		slow.Apply = func(ctx context.Context, _ *tx, _ leat.Recorded) error {
			<-ctx.Done()
			return ctx.Err()
		}
		app := start(t, log, history("quick", servicetest.NewMemory()), slow)
		r := fill(t, log, "a-1")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := app.app.WaitFor(ctx, r)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"slow"`) || !strings.Contains(err.Error(), "not yet 1") {
			t.Errorf("WaitFor: %v, want the deadline and who lags", err)
		}
		want(t, "lag", app.app.Status()[1].Lag, uint64(1))
		want(t, "lag of the other", app.app.Status()[0].Lag, uint64(0))
		err = app.app.WaitCaughtUp(t.Context(), leat.Checkpoint{Log: "another"})
		want(t, "waiting for another log is ErrDiverged", errors.Is(err, leat.ErrDiverged), true)
		app.stop()
	})
}

func TestWaitingMayBeginBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, leat.Config{})
		model := servicetest.NewMemory()
		r := fill(t, log, "a-1")
		first := start(t, log, history("h", model))
		first.caughtUp()
		first.stop()

		app, err := service.NewApp(service.Config{Log: log}, history("h", model))
		ok(t, err)
		waited := make(chan error)
		go func() { waited <- app.WaitFor(t.Context(), r) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- app.Run(ctx) }()
		ok(t, <-waited)
		cancel()
		ok(t, <-ended)
	})
}

// restless is a log that cannot be reached now and then.
type restless struct {
	*leattest.Log
	calls atomic.Int64
}

func (r *restless) ReadShard(ctx context.Context, shard leat.ShardID, after uint64, o leat.ReadOptions) (leat.Batch, error) {
	if r.calls.Add(1)%3 == 0 {
		return leat.Batch{}, errors.New("connection refused")
	}
	return r.Log.ReadShard(ctx, shard, after, o)
}

func TestAppFollowsALogThatIsAwayNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &restless{Log: newLog(t, leat.Config{Shards: leat.EvenShards(2)})}
		model := servicetest.NewMemory()
		w := newWitness(t)
		app := start(t, log, history("h", model), w.reactor(2))
		for range 30 {
			fill(t, log, "a-1", "b-1", "c-1")
			app.caughtUp()
		}
		for _, s := range []string{"a-1", "b-1", "c-1"} {
			want(t, s, model.Data()[s], versions(30))
			want(t, s, w.of(s), versions(30))
		}
		want(t, "last error", app.status().LastError, "connection refused")
		app.stop()
	})
}

// The SDK is imported by every service: it brings nothing along.
func TestImports(t *testing.T) {
	files, err := os.ReadDir(".")
	ok(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		ok(t, err)
		for _, i := range file.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") && path != "github.com/leathq/leat" {
				t.Errorf("%s imports %s: only the standard library and package leat are allowed", f.Name(), path)
			}
		}
	}
}

type noOutbox struct{ service.Outbox }
