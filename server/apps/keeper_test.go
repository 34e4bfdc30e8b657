package apps_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/server/apps"
)

var shard0, shard1 = leat.ShardNumber(0), leat.ShardNumber(1)

// heads is a log of which only the heads are known.
type heads map[leat.ShardID]uint64

func (h heads) Shards(context.Context) ([]leat.Shard, error) {
	var all []leat.Shard
	for id, head := range h {
		all = append(all, leat.Shard{ID: id, Head: head})
	}
	return all, nil
}

// A bench is a keeper under test with a clock that stands.
type bench struct {
	*apps.Keeper
	t   *testing.T
	now time.Time
	log heads
}

func open(t *testing.T, path string) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), log: heads{shard0: 100, shard1: 100}}
	k, err := apps.Open(path, b.log, func() time.Time { return b.now })
	if err != nil {
		t.Fatal(err)
	}
	b.Keeper = k
	return b
}

// report reports of a worker that has seen events and stands at a sequence of
// shard 0.
func (b *bench) report(app, owner string, seen, next uint64) (paused []string) {
	b.t.Helper()
	paused, err := b.Report(b.t.Context(), []leat.AppStatus{{
		Name: app, Owner: owner, Tally: leat.Tally{Seen: seen},
		Shards: []leat.ShardStatus{{ID: shard0, Held: true, Next: next, Head: 100}, {ID: shard1, Next: 100, Head: 100}},
	}}, 10*time.Second)
	if err != nil {
		b.t.Fatal(err)
	}
	return paused
}

// show writes what the keeper tells: each worker with its state, and what the
// application lags behind.
func (b *bench) show() string {
	b.t.Helper()
	all, err := b.Apps(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for i := range all {
		s := all[i].Status()
		line := fmt.Sprintf("%s lag %d behind %s:", all[i].Name, s.Lag, s.Behind(b.now))
		if len(all[i].Workers) == 0 {
			line = all[i].Name + ":"
		}
		if all[i].Paused {
			line += " paused"
		}
		for _, w := range all[i].Workers {
			line += " " + w.Owner
			if w.Gone {
				line += " gone"
			}
			if w.Ended {
				line += " ended"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (b *bench) want(want string) {
	b.t.Helper()
	if got := b.show(); got != want {
		b.t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
}

func TestSilentWorkersAreGone(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	b.report("stock", "a/1", 1, 90)
	b.report("stock", "b/1", 1, 80)
	b.want("stock lag 10 behind 0s: a/1 b/1") // of two that hold a shard the one that is further is right
	b.now = b.now.Add(9 * time.Second)
	b.report("stock", "a/1", 2, 100)
	b.want("stock lag 0 behind 0s: a/1 b/1")
	b.now = b.now.Add(time.Second)
	b.want("stock lag 0 behind 0s: a/1 b/1 gone")
	b.now = b.now.Add(time.Minute)
	b.want("stock lag 0 behind 0s: a/1 gone b/1 gone")

	b.log[shard0] = 150
	b.want("stock lag 50 behind 1m1s: a/1 gone b/1 gone")

	b.report("stock", "b/2", 1, 120)
	b.want("stock lag 30 behind 0s: a/1 gone b/2")
}

// An application that nobody works for is not forgotten with its workers, nor with
// the server: it lags ever further behind.
func TestAnApplicationWithoutWorkersIsNotForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.json")
	b := open(t, path)
	b.report("stock", "a/1", 1, 90)
	b.now = b.now.Add(time.Second)
	b.report("stock", "b/1", 1, 95)
	b.now = b.now.Add(2 * time.Hour)
	b.want("stock lag 5 behind 2h0m0s: b/1 gone") // and not that of a, which saw less
	b.log[shard1] = 130
	b.want("stock lag 35 behind 2h0m0s: b/1 gone")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	now, log := b.now, b.log
	b = open(t, path)
	b.now, b.log[shard1] = now.Add(24*time.Hour), log[shard1]
	b.want("stock lag 35 behind 26h0m0s: b/1 gone")
	b.report("stock", "a/2", 1, 100)
	b.want("stock lag 0 behind 0s: a/2")
	if err := b.Forget(t.Context(), "stock"); !errors.Is(err, leat.ErrHeld) {
		t.Errorf("forget one that is at work: %v, want ErrHeld", err)
	}
	b.now = b.now.Add(time.Minute)
	if err := b.Forget(t.Context(), "stock"); err != nil {
		t.Error(err)
	}
	b.want("")
	if err := b.Forget(t.Context(), "stock"); !errors.Is(err, leat.ErrNotFound) {
		t.Errorf("forget it again: %v, want ErrNotFound", err)
	}
	b = open(t, path)
	b.want("")

	b.report("stock", "a/2", 1, 100)
	b.now = b.now.Add(29 * 24 * time.Hour)
	b.want("stock lag 0 behind 0s: a/2 gone")
	b.now = b.now.Add(2 * 24 * time.Hour)
	b.want("")
}

// What a server that is killed has not saved is half a minute old at most.
func TestPositionsAreSavedFromTimeToTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.json")
	b := open(t, path)
	b.report("stock", "a/1", 1, 50)
	for next := range uint64(20) {
		b.now = b.now.Add(2 * time.Second)
		b.report("stock", "a/1", 1, 60+next)
	}
	now := b.now
	b = open(t, path)
	b.now = now
	b.want("stock lag 26 behind 10s: a/1 gone")
}

func TestAnEarlierLifeIsNotShownBesideALaterOne(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	b.report("stock", "a/1", 1, 100)
	b.now = b.now.Add(time.Second)
	b.report("stock", "a/2", 1, 100) // it was killed, and started at once
	b.want("stock lag 0 behind 0s: a/1 a/2")
	b.now = b.now.Add(9500 * time.Millisecond)
	b.want("stock lag 0 behind 0s: a/2")

	// Two that have one name and live at the same time are two.
	b.report("twins", "c/1", 1, 100)
	b.report("twins", "c/2", 1, 100)
	b.now = b.now.Add(9 * time.Second)
	b.report("twins", "c/2", 1, 100)
	b.now = b.now.Add(9 * time.Second)
	b.want("stock lag 0 behind 0s: a/2 gone\ntwins lag 0 behind 0s: c/1 gone c/2")
}

func TestWorkersSayThatTheyEnd(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	_, err := b.Report(t.Context(), []leat.AppStatus{{Name: "stock", Owner: "a/1", Ended: true}}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Minute)
	b.want("stock lag 200 behind 1m0s: a/1 ended")
}

// What a worker had done before it was heard of for the first time may have been
// counted already: by a server that has started again since, or before its
// application was forgotten.
func TestTotalsCountWhatWorkersDoFromNowOn(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	b.report("stock", "a/1", 10, 10)
	b.report("stock", "a/1", 15, 15)
	b.report("stock", "b/1", 1_000_000, 16)
	b.report("stock", "b/1", 1_000_001, 16)
	b.now = b.now.Add(time.Minute)
	b.report("stock", "b/2", 0, 18) // and forgets b/1
	b.report("stock", "b/2", 2, 18)
	if got := b.Totals()["stock"].Seen; got != 8 {
		t.Errorf("seen %d, want 8", got)
	}
}

// A whole fleet that was not heard for a while, as when a network fails, is not
// taken for other workers when it is back.
func TestAFleetThatComesBackIsKnown(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	const fleet = 40
	for i := range fleet {
		b.report("stock", fmt.Sprint("worker-", i, "/1"), 100, 100)
	}
	b.now = b.now.Add(time.Minute)
	for i := range fleet {
		b.report("stock", fmt.Sprint("worker-", i, "/1"), 101, 100)
	}
	if got := b.Totals()["stock"].Seen; got != fleet {
		t.Errorf("seen %d, want %d", got, fleet)
	}
	if all, err := b.Apps(t.Context()); err != nil || len(all[0].Workers) != fleet {
		t.Errorf("%v, %d workers, want %d", err, len(all[0].Workers), fleet)
	}
}

// Pauses of applications that nobody runs do not keep others from being told of.
func TestPausesAreBounded(t *testing.T) {
	k := apps.New(heads{}, nil)
	for i := range 1000 {
		if err := k.Pause(t.Context(), fmt.Sprint("nobody-", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Pause(t.Context(), "one more"); !errors.Is(err, leat.ErrFull) || !strings.Contains(err.Error(), "leat apps resume") {
		t.Errorf("pause of one more: %v, want ErrFull that says what to do", err)
	}
	if _, err := k.Report(t.Context(), []leat.AppStatus{{Name: "stock", Owner: "a"}}, time.Second); err != nil {
		t.Errorf("report of another application: %v", err)
	}
}

func TestPauseIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.json")
	b := open(t, path)
	if paused := b.report("stock", "a/1", 1, 100); len(paused) > 0 {
		t.Errorf("paused: %q", paused)
	}
	for _, app := range []string{"stock", "later", "stock", "other"} {
		if err := b.Pause(t.Context(), app); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Resume(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(t.Context(), "never heard of"); err != nil {
		t.Fatal(err)
	}
	b.want("later: paused\nstock lag 0 behind 0s: paused a/1")

	b = open(t, path)
	if paused := b.report("stock", "a/1", 1, 100); !slices.Equal(paused, []string{"stock"}) {
		t.Errorf("after a restart: paused %q, want stock", paused)
	}
	b.now = b.now.Add(24 * time.Hour)
	b.want("later: paused\nstock lag 0 behind 0s: paused a/1 gone")
	if err := b.Resume(t.Context(), "stock"); err != nil {
		t.Fatal(err)
	}
	b.want("later: paused\nstock lag 0 behind 0s: a/1 gone")
}

func TestABrokenFileIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.json")
	for content, want := range map[string]error{"{": leat.ErrCorrupt, `{"format":2}`: leat.ErrUnsupported} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := apps.Open(path, heads{}, nil); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v and the file's name", content, err, want)
		}
	}
}

func TestHostileReportsAreRefused(t *testing.T) {
	long := strings.Repeat("x", leat.MaxNameBytes+1)
	for name, s := range map[string]leat.AppStatus{
		"no name":       {Owner: "a"},
		"no owner":      {Name: "stock"},
		"long name":     {Name: long, Owner: "a"},
		"not UTF-8":     {Name: "a\xff", Owner: "a"},
		"long error":    {Name: "stock", Owner: "a", LastError: strings.Repeat("x", leat.MaxReportError+1)},
		"no number":     {Name: "stock", Owner: "a", Rate: math.NaN()},
		"no end":        {Name: "stock", Owner: "a", Rate: math.Inf(1)},
		"backwards":     {Name: "stock", Owner: "a", Rate: -1},
		"no shard":      {Name: "stock", Owner: "a", Shards: []leat.ShardStatus{{ID: "../etc"}}},
		"a shard twice": {Name: "stock", Owner: "a", Shards: []leat.ShardStatus{{ID: shard0}, {ID: shard0}}},
		"many shards":   {Name: "stock", Owner: "a", Shards: make([]leat.ShardStatus, leat.MaxReportShards+1)},
	} {
		b := open(t, filepath.Join(t.TempDir(), "apps.json"))
		if _, err := b.Report(t.Context(), []leat.AppStatus{s}, time.Second); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
		b.want("")
	}
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	if _, err := b.Report(t.Context(), make([]leat.AppStatus, leat.MaxReportApps+1), time.Second); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("too many applications: %v", err)
	}
	if err := b.Pause(t.Context(), long); !errors.Is(err, leat.ErrInvalid) {
		t.Errorf("pause of a long name: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "apps.json"))
	full := false
	for i := range 2000 {
		_, err := b.Report(t.Context(), []leat.AppStatus{{Name: fmt.Sprint("app-", i), Owner: "a"}}, time.Second)
		if full = errors.Is(err, leat.ErrFull); full {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		t.Error("2,000 applications were taken in")
	}
	b.now = b.now.Add(time.Minute) // those are gone: there is room again
	shards := make([]leat.ShardStatus, leat.MaxReportShards)
	for i := range shards {
		shards[i].ID = leat.ShardNumber(i)
	}
	full = false
	for i := range 100 {
		_, err := b.Report(t.Context(), []leat.AppStatus{{Name: "stock", Owner: fmt.Sprint("worker-", i), Shards: shards}}, time.Second)
		if full = errors.Is(err, leat.ErrFull); full {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !full {
		t.Error("400,000 shards were taken in")
	}
	for i := range 100 { // workers that come and go are not all remembered
		b.now = b.now.Add(time.Minute)
		b.report("stock", fmt.Sprint("fleeting-", i), 1, 1)
	}
	all, err := b.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all[0].Workers); len(all) != 1 || n > 20 {
		t.Errorf("%d applications, the first of %d workers; want one of about 17", len(all), n)
	}
}
