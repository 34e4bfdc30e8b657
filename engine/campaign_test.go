package engine_test

// Campaigns are tests that try to break a log for as long as they are told to.
// In a plain go test each runs in its short form. A flag for each says how much
// it does, and all take the same seed:
//
//	go test ./engine -run TestPowerCuts    -timeout 0 -args -cuts 10000
//	go test ./engine -run TestIOErrors     -timeout 0 -args -faults 100000
//	go test ./engine -run TestKill         -timeout 0 -args -kills 1000
//	go test ./engine -run TestLinearizable -timeout 0 -args -histories 2000
//	go test ./engine -run TestFlips        -timeout 0 -args -flips 1000000
//
// A campaign is made of trials, numbered from its seed: when the trial of seed
// 17 fails, the failure says so, and -seed 17 begins with it. The seed decides
// what is done to the log and where it is broken; how the goroutines interleave
// it does not, so a failure may need -seed 17 -count 20 to be seen again. Seeds
// that failed once are run first, always.

import (
	"flag"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/leathq/leat/engine"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the first trial of a campaign; 0 draws one")
	cuts      = flag.Int("cuts", 250, "how often TestPowerCuts cuts the power")
	faults    = flag.Int("faults", 12, "how many calls of each kind TestIOErrors lets fail, at most, evenly spread")
	kills     = flag.Int("kills", 6, "how often TestKill kills a process")
	histories = flag.Int("histories", 100, "how many histories TestLinearizable records and checks")
	flips     = flag.Int("flips", 200, "how many bytes TestFlips damages, at most, evenly spread")
)

// campaignOptions are those of the logs of all campaigns: everything small, so
// that little work reaches every part of the engine.
func campaignOptions(fs vfs.FS) engine.Options {
	o := engine.Options{FS: fs, CacheBytes: 1 << 20, GenerationEvents: 40, ReserveBytes: -1}
	return o.WithFileBytes(16 << 10)
}

// firstSeed returns the seed of a campaign's first trial and prints it.
func firstSeed(t testing.TB) uint64 {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1e12)
	}
	t.Logf("-seed %d", seed)
	return seed
}

// newRand returns the source of randomness of a test, and prints its seed.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	return seeded(firstSeed(t))
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// campaign runs trials, first those of seeds that failed once, then of one seed
// after another until a trial reports that it was enough. It stops at the first
// failure. Trials run side by side.
func campaign(t *testing.T, failedOnce []uint64, trial func(seed uint64) (enough bool, err error)) {
	t.Helper()
	var done atomic.Bool
	seeds := make(chan uint64)
	var wg sync.WaitGroup
	for range sideBySide {
		wg.Go(func() {
			for seed := range seeds {
				enough, err := trial(seed)
				if err != nil {
					t.Errorf("-seed %d: %v", seed, err)
				}
				if err != nil || enough {
					done.Store(true)
				}
			}
		})
	}
	for _, seed := range failedOnce {
		seeds <- seed
	}
	for seed := firstSeed(t); !done.Load(); seed++ {
		seeds <- seed
	}
	close(seeds)
	wg.Wait()
}

// sideBySide is how many trials run at once. Most of them wait now and then.
const sideBySide = 4

// jumpingClock returns a clock that is wrong by up to an hour.
func jumpingClock(rng *rand.Rand) func() time.Time {
	wrong := time.Duration(rng.Int64N(int64(2*time.Hour))) - time.Hour
	return func() time.Time { return time.Now().Add(wrong) }
}
