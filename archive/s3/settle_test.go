package s3_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive/s3"
)

// short are limits under which a stalling store costs a test little.
var short = s3.Limits{Attempt: 150 * time.Millisecond, Attempts: 10, Pause: time.Millisecond, MaxPause: 10 * time.Millisecond}

// Whatever happens to the first requests, Create finds out that it created the
// object, and every other call gets its answer.
func TestAnswersAreFoundOut(t *testing.T) {
	for _, f := range createFaults {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			var s script
			url := serveFaults(t, fake(t), s.plan)
			store, other := open(t, url, short), open(t, url, short)

			s.arm(f)
			if err := store.Create(t.Context(), "a", []byte("mine")); err != nil {
				t.Errorf("Create: %v", err)
			}
			s.arm(f, f, f)
			if err := store.Create(t.Context(), "b", []byte("mine")); err != nil {
				t.Errorf("Create, three times: %v", err)
			}
			s.arm(f)
			if err := other.Create(t.Context(), "a", []byte("mine")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Create of what another created, with the same bytes: %v, want fs.ErrExist", err)
			}
			if f == conflict || f == falseExists {
				return
			}
			s.arm(f)
			if data, err := store.Get(t.Context(), "a"); err != nil || string(data) != "mine" {
				t.Errorf("Get: %q, %v", data, err)
			}
			s.arm(f)
			if data, err := store.GetRange(t.Context(), "a", 1, 2); err != nil || string(data) != "in" {
				t.Errorf("GetRange: %q, %v", data, err)
			}
			s.arm(f)
			if n, err := store.Size(t.Context(), "a"); err != nil || n != 4 {
				t.Errorf("Size: %d, %v", n, err)
			}
			s.arm(f)
			var names []string
			for name, err := range store.List(t.Context(), "", "") {
				if err != nil {
					t.Errorf("List: %v", err)
				}
				names = append(names, name)
			}
			if want := []string{"a", "b"}; !slices.Equal(names, want) {
				t.Errorf("List: %q, want %q", names, want)
			}
			s.arm(f)
			if _, err := store.Get(t.Context(), "none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get of nothing: %v, want fs.ErrNotExist", err)
			}
			s.arm(f)
			if err := store.Remove(t.Context(), "a"); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if st := store.Stats(); st.Failed < 3 || st.Requests < st.Failed {
				t.Errorf("%+v, want failed attempts counted", st)
			}
		})
	}
}

// Of many that create one object over a bad network exactly one is told that it
// did, though all would write the same bytes.
func TestOneWinsOverABadNetwork(t *testing.T) {
	seed := rand.Uint64()
	c := chance{rng: rand.New(rand.NewPCG(seed, 0))}
	store := open(t, serveFaults(t, fake(t), c.plan), short)
	c.set(2)
	for round := range 20 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won, failed int
		for range 20 {
			wg.Go(func() {
				err := store.Create(t.Context(), fmt.Sprint("o", round), []byte("the same"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, fs.ErrExist):
					failed++
				}
			})
		}
		wg.Wait()
		if won > 1 || won == 0 && failed == 0 {
			t.Errorf("round %d: %d won, %d do not know, want one winner (seed %d)", round, won, failed, seed)
		}
	}
}

// A store that is down or stalls is given up after a few attempts.
func TestGivesUp(t *testing.T) {
	for f, want := range map[fault]string{
		slowDown: "HTTP 503 SlowDown", stallBefore: "did not answer within 50ms", stallInside: "did not answer within",
		cutBefore: "EOF", conflict: "HTTP 409 ConditionalRequestConflict", falseExists: "exists, and then that it does not",
	} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			var s script
			few := short
			few.Attempt, few.Attempts = 50*time.Millisecond, 3
			store := open(t, serveFaults(t, fake(t), s.plan), few)
			if err := store.Create(t.Context(), "there", []byte("x")); err != nil {
				t.Fatal(err)
			}
			s.arm(slices.Repeat([]fault{f}, 6)...)
			err := store.Create(t.Context(), "a", []byte("x"))
			if f == stallInside { // a PUT's answer has no inside
				_, err = store.Get(t.Context(), "there")
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "gave up after 3 attempts") {
				t.Errorf("%v, want that it gave up after 3 attempts because of %q", err, want)
			}
			if errors.Is(err, fs.ErrExist) || errors.Is(err, leat.ErrDenied) {
				t.Errorf("%v says more than is known", err)
			}
		})
	}
}
