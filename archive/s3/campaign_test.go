package s3_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/internal/sample"
	"github.com/leathq/leat/archive/s3"
	"github.com/leathq/leat/internal/versitygw"
	"github.com/leathq/leat/leattest"
)

// What TestFaults does, and how long:
//
//	go test ./archive/s3 -run TestFaults -timeout 0 -args -schedules 10000
//	go test ./archive/s3 -run TestFaultsOver -timeout 0 -args -kills 500
//	go test ./archive/s3 -run TestFaults -args -seed 17 -schedules 1 -kills 1
var (
	schedules    = flag.Int("schedules", 60, "how many schedules of faults TestFaults tries")
	gatewayKills = flag.Int("kills", 15, "how many schedules TestFaultsOverVersitygw tries, killing it in each")
	seedFlag     = flag.Uint64("seed", 0, "seed of the first schedule; 0 draws one")
)

// A log is archived by two archivers at once to a store that fails, stalls and
// loses answers. When it is well again, all is archived once and in order.
func TestFaults(t *testing.T) {
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("%d schedules from seed %d", *schedules, first)
	key, err := archive.LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	var total outcome
	var mu sync.Mutex
	t.Run("schedules", func(t *testing.T) {
		turn := make(chan struct{}, 8) // most of the time is spent waiting
		for i := range *schedules {
			seed := first + uint64(i)
			turn <- struct{}{}
			go func() {
				defer func() { <-turn }()
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					o := tryFaults(t, key, fake(t), seed, func() {})
					mu.Lock()
					defer mu.Unlock()
					total.add(o)
				})
			}()
		}
		for range cap(turn) {
			turn <- struct{}{}
		}
	})
	t.Logf("%+v", total)
	if total.Flushes == 0 || total.Failed == 0 && *schedules > 10 {
		t.Errorf("%+v: no archiver ever failed", total)
	}
	if total.Recovered == 0 {
		t.Errorf("%+v: no archiver ever finished what it had begun", total)
	}
}

// The same over versitygw, with its own ways to be slow, which is killed, too.
func TestFaultsOverVersitygw(t *testing.T) {
	g := versitygw.Start(t, t.TempDir())
	target, err := url.Parse("http://" + g.Address)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = stdlog.New(io.Discard, "", 0) // of requests that a kill cut off
	key, err := archive.LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64()
	}
	var kills sync.WaitGroup
	var killed atomic.Int64
	for i := range *gatewayKills {
		rng := rand.New(rand.NewPCG(first+uint64(i), 2))
		var requests, at atomic.Int64
		at.Store(1 + rng.Int64N(100))
		tryFaults(t, key, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == at.Load() {
				kills.Go(func() { // in the middle of this request, or so
					killed.Add(1)
					if err := g.Restart(); err != nil {
						t.Errorf("start versitygw again: %v", err)
					}
				})
			}
			forward.ServeHTTP(w, r)
		}), first+uint64(i), func() {
			at.Store(0)
			kills.Wait()
		})
	}
	t.Logf("killed %d times, from seed %d", killed.Load(), first)
}

// An outcome counts what happened.
type outcome struct {
	Flushes, Failed  int // of archivers
	Recovered        int // archives that those archivers finished
	Requests, Broken uint64
	Events           uint64
}

func (o *outcome) add(p outcome) {
	o.Flushes, o.Failed, o.Recovered = o.Flushes+p.Flushes, o.Failed+p.Failed, o.Recovered+p.Recovered
	o.Events += p.Events
	o.Requests, o.Broken = o.Requests+p.Requests, o.Broken+p.Broken
}

// hasty are limits under which calls give up soon, so that errors reach the
// archivers.
var hasty = s3.Limits{Attempt: 60 * time.Millisecond, Attempts: 3, Pause: time.Millisecond, MaxPause: 4 * time.Millisecond}

// tryFaults archives a log through faults until heal is called.
func tryFaults(t *testing.T, key *archive.Key, server http.Handler, seed uint64, heal func()) (o outcome) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("seed %d: %s", seed, fmt.Sprintf(format, args...))
	}
	log, err := leattest.New(leat.Config{ID: fmt.Sprint("log-", seed), Shards: leat.EvenShards(1 + rng.IntN(2))}, nil)
	if err != nil {
		fail("%v", err)
		return o
	}
	defer log.Close()
	c := chance{rng: rand.New(rand.NewPCG(seed, 1))}
	where := serveFaults(t, server, c.plan)
	var stores []*s3.Store
	var archivers []*archive.Archiver
	for i := range 2 {
		store, err := s3.Open(t.Context(), where, hasty)
		for n := 0; err != nil; n++ { // for a machine that is busy, it is too hasty
			if n == 100 {
				fail("open: %v", err)
				return o
			}
			store, err = s3.Open(t.Context(), where, hasty)
		}
		a, err := archive.NewArchiver(log, store, archive.Config{Key: key, SegmentBytes: int64(1+i) << 10})
		if err != nil {
			fail("%v", err)
			return o
		}
		stores, archivers = append(stores, store), append(archivers, a)
	}
	c.set(1 + rng.IntN(7))
	var mu sync.Mutex // guards o
	for range 2 {
		sample.Append(t, log, rng, 40)
		var wg sync.WaitGroup
		for _, a := range archivers {
			wg.Go(func() {
				for range 3 {
					err := flush(t, log, a)
					mu.Lock()
					o.Flushes++
					if err != nil {
						o.Failed++
					}
					mu.Unlock()
					if errors.Is(err, leat.ErrCorrupt) || errors.Is(err, leat.ErrDiverged) || errors.Is(err, leat.ErrDenied) {
						fail("flush: %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
	c.set(0)
	heal()
	// What they began, they finish, unless they are too hasty for a machine that is
	// busy: then another archiver does, which is not.
	patient := open(t, where, impatient)
	err = flush(t, log, archivers[rng.IntN(2)])
	for n := 0; err != nil && n < 4; n++ {
		err = flush(t, log, archivers[n%2])
	}
	if err != nil {
		a, e := archive.NewArchiver(log, patient, archive.Config{Key: key})
		if err = e; err == nil {
			err = flush(t, log, a)
		}
	} else {
		o.Recovered++
	}
	if err != nil {
		fail("flush when the store is well again: %v", err)
	}
	o.Events = audit(t, log, patient, seed)
	for _, s := range stores {
		o.Requests, o.Broken = o.Requests+s.Stats().Requests, o.Broken+s.Stats().Failed
	}
	return o
}

func flush(t testing.TB, log leat.Log, a *archive.Archiver) error {
	to, err := leat.Start(t.Context(), log, leat.Now)
	if err != nil {
		return err
	}
	return a.Flush(t.Context(), to)
}

// audit compares an archive with the log, event by event, and verifies all of it.
func audit(t testing.TB, log leat.Log, store archive.Store, seed uint64) (events uint64) {
	t.Helper()
	info, err := log.Info(t.Context())
	if err != nil {
		t.Error(err)
		return 0
	}
	report, err := archive.Verify(t.Context(), store, info.ID, archive.VerifyOptions{Log: log})
	if err != nil || len(report.Problems) > 0 || report.Compared != report.Events {
		t.Errorf("seed %d: verify: %+v, %v", seed, report, err)
	}
	a, err := archive.Open(t.Context(), store, info.ID)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return 0
	}
	shards, err := log.Shards(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, s := range shards {
		want := sample.Read(t, log, s.ID)
		sample.Compare(t, a, s.ID, want)
		events += uint64(len(want))
	}
	return events
}
