package client_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/client"
	"github.com/leathq/leat/internal/proxy"
	"github.com/leathq/leat/leattest"
)

// seed returns LEAT_SEED, or a random one, and prints it.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("LEAT_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("LEAT_SEED: %v", err)
		}
	}
	t.Logf("LEAT_SEED=%d", n)
	return n
}

// The promises hold when connections are cut, delayed and truncated: what is
// lost is sent again. Half of the logs are the reference, half are engines.
func TestLogOverBadNetwork(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(seed(t), 1))
	var cuts int64
	leattest.TestLog(t, func(t testing.TB, s leattest.Setup) leattest.Instance {
		var log leat.Log
		if r.IntN(2) == 0 {
			log = create(t, s)
		} else if l, err := leattest.New(s.Config, s.Clock); err != nil {
			t.Fatal(err)
		} else {
			log = l
		}
		p := proxied(t, serve(t, log, nil))
		p.Decide(proxy.Cruel(r.Uint64()))
		t.Cleanup(func() { cuts += p.Cuts.Load() })
		return leattest.Instance{Log: dial(t, url(p), client.Options{Wait: true})}
	})
	t.Logf("%d connections were cut", cuts)
	if cuts == 0 {
		t.Error("no connection was cut")
	}
}
