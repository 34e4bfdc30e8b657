package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leathq/leat/examples/shop/database"
	"github.com/leathq/leat/examples/shop/orders"
	"github.com/leathq/leat/internal/pgtest"
	"github.com/leathq/leat/sqlite"
	"go.uber.org/goleak"
)

// asShop makes the test binary be the shop, so that tests can kill it.
const asShop = "LEAT_TEST_AS_SHOP"

// realFile names an order file to trade in TestOrderFile.
const realFile = "LEAT_TEST_ORDERS"

func TestMain(m *testing.M) {
	if os.Getenv(asShop) != "" {
		os.Exit(start(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Setenv(asShop, "1") // the processes that this one starts are the shop's //nolint:errcheck,gosec // it cannot fail
	goleak.VerifyTestMain(withPostgreSQL{m})
}

// withPostgreSQL ends the server that tests started.
type withPostgreSQL struct{ *testing.M }

func (m withPostgreSQL) Run() int { return pgtest.Main(m.M) }

// shopTest runs the shop in this process and returns its exit status and what it
// wrote.
func shopTest(args ...string) (status int, out, told string) {
	var o, e strings.Builder
	status = start(args, &o, &e)
	return status, o.String(), e.String()
}

func TestGeneratedOrders(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"--once", "--data", data, "--seed", "7", "--count", "300"}
	status, out, told := shopTest(args...)
	if status != 0 || !strings.Contains(out, "The books agree") {
		t.Fatalf("exit status %d\n%s%s", status, told, out)
	}
	status, out, told = shopTest(args...)
	if status != 0 || !strings.Contains(out, " 0 are new") {
		t.Errorf("a second run on the same data: exit status %d, want 0 and no new events\n%s%s", status, told, out)
	}
	status, out, told = shopTest("--once", "--data", data)
	if status != 0 || !strings.Contains(out, "--seed 7 --count 300") {
		t.Errorf("a run that names no input: exit status %d, want 0 and the input of the data\n%s%s", status, told, out)
	}
}

func TestDataDirectoryKeepsItsInput(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, "orders.csv", goodRows)
	if status, out, told := shopTest("--once", "--data", dir, "--orders", file); status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, told, out)
	}
	other := writeFile(t, "other.csv", goodRows+"536370,84029G,WARMER,1,2010-12-01 09:00:00,3.39,13047,France\n")
	for name, args := range map[string][]string{
		"another file":  {"--orders", other},
		"another count": {"--count", "10"},
		"another seed":  {"--seed", "10"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, told := shopTest(append([]string{"--once", "--data", dir}, args...)...)
			if status != 1 || !strings.Contains(told, "was begun with --orders "+file) {
				t.Errorf("exit status %d, want 1 and what the directory was begun with\n%s", status, told)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"help", []string{"--help"}, 0, "go run ./examples/shop --once"},
		{"unknown flag", []string{"--twice"}, 2, "-twice"},
		{"argument", []string{"orders.csv"}, 2, "--orders FILE"},
		{"file and count", []string{"--orders", "x.csv", "--count", "3"}, 2, "--seed and --count"},
		{"no file", []string{"--once", "--orders", "no-such-file.csv"}, 1, "no-such-file.csv"},
		{"no orders", []string{"--once", "--count", "0"}, 1, "count must be 1 to"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, out, told := shopTest(test.args...)
			if status != test.status || !strings.Contains(out+told, test.says) {
				t.Errorf("exit status %d, want %d and %q in\n%s%s", status, test.status, test.says, out, told)
			}
		})
	}
}

// TestKilledAnywhere kills the shop at random moments, and expects that it goes
// on from there and comes to the same totals.
func TestKilledAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	data := filepath.Join(t.TempDir(), "data")
	args := []string{"--once", "--data", data, "--seed", "3", "--count", "1000"}

	for range 6 {
		shop := command(args...)
		if err := shop.Start(); err != nil {
			t.Fatal(err)
		}
		killed := time.AfterFunc(time.Duration(rng.IntN(1500))*time.Millisecond, func() { _ = shop.Process.Kill() })
		ended := shop.Wait() // killed, or done before that
		killed.Stop()
		t.Log(ended)
	}
	out, err := command(args...).CombinedOutput()
	if err != nil {
		t.Errorf("after the kills (seed %d): %v\n%s", seed, err, out)
	}
}

// command runs the shop in a process of its own.
func command(args ...string) *exec.Cmd { return exec.Command(os.Args[0], args...) }

// TestChaos kills and pauses processes of the shop while it trades.
func TestChaos(t *testing.T) {
	status, out, told := shopTest("--once", "--chaos", "--seed", "9", "--count", "600")
	if status != 0 || !strings.Contains(out, "processes killed") {
		t.Errorf("exit status %d, want 0 and how many were killed\n%s%s", status, told, out)
	}
	for line := range strings.Lines(told + out) {
		if strings.Contains(line, "chaos") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func TestInterruptedDrains(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithCancel(t.Context())
	o := options{once: true, data: data, seed: 5, count: 300, given: map[string]bool{"count": true, "seed": true}}
	told := interruptAt("driving", cancel)
	if ok, err := run(ctx, o, told, told); ok || err == nil || strings.Contains(err.Error(), "killed") {
		t.Errorf("an interrupted run says %t, %v, want an error, and that no process had to be killed", ok, err)
	}
	var out strings.Builder
	if ok, err := run(t.Context(), o, &out, &out); !ok || err != nil {
		t.Errorf("the run after it says %t, %v\n%s", ok, err, out.String())
	}
}

// TestDrainLosesNothing closes the shop while orders come in, and expects every
// order that was acknowledged to be there when it opens again.
func TestDrainLosesNothing(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	s, err := openShop(ctx, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	stock(t, s)
	placing, stop := context.WithCancel(ctx)
	acknowledged := make(chan string)
	var placers sync.WaitGroup
	for i := range 8 {
		placers.Go(func() {
			for n := 0; ; n++ {
				o := orders.PlaceRequest{Order: fmt.Sprintf("%d-%d", i, n), Country: "France", Lines: []orders.LineRequest{{SKU: "85123A", Units: 1, Price: 100}}}
				if s.api.command(placing, "/orders", "", o) != nil {
					return
				}
				acknowledged <- o.Order
			}
		})
	}
	var numbers []string
	enough, collected := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(collected)
		for n := range acknowledged {
			if numbers = append(numbers, n); len(numbers) == 200 {
				close(enough)
			}
		}
	}()
	<-enough
	if err := s.Close(); err != nil { // while they go on placing
		t.Errorf("close: %v", err)
	}
	stop()
	placers.Wait()
	close(acknowledged)
	<-collected

	if s, err = openShop(ctx, dir, ""); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.settle(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		var v orders.View
		if err := s.api.get(ctx, "/orders/"+n, &v); err != nil || v.Status != orders.StatusConfirmed {
			t.Errorf("order %s was acknowledged and is %q, %v; want it confirmed", n, v.Status, err)
		}
	}
}

func TestStaysOpenUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := options{data: t.TempDir(), seed: 5, count: 50}
	told := interruptAt(stays, cancel)
	if ok, err := run(ctx, o, told, told); !ok || err != nil {
		t.Errorf("a run that is closed says %t, %v, want that the books agreed", ok, err)
	}
}

func TestBooksThatDoNotAgree(t *testing.T) {
	data := t.TempDir()
	args := []string{"--once", "--data", data, "--count", "50"}
	if status, out, told := shopTest(args...); status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, told, out)
	}
	db, err := sqlite.Open(filepath.Join(data, "billing.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`update invoices set amount = amount + 1 where number = (select min(number) from invoices)`); err != nil {
		t.Fatal(err)
	}
	status, out, _ := shopTest(args...)
	want := "\nTHE BOOKS DO NOT AGREE: 4 of 33 checks failed.\n\n  ✗ billing: invoiced by order\n"
	if status != 1 || !strings.HasPrefix(out, want) {
		t.Errorf("exit status %d, want 1 and a report that begins with %q\n%s", status, want, out)
	}
}

func TestBillingInPostgreSQL(t *testing.T) {
	url := pgtest.Database(t)
	args := []string{"--once", "--data", t.TempDir(), "--count", "50", "--billing", url}
	for range 2 { // the second run finds all of it done
		if status, out, told := shopTest(args...); status != 0 {
			t.Fatalf("exit status %d\n%s%s", status, told, out)
		}
	}
	model, err := database.OpenModel(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	var invoices int
	if err := model.QueryRow(`select count(*) from invoices`).Scan(&invoices); err != nil || invoices != 50 {
		t.Errorf("PostgreSQL has %d invoices, %v, want 50", invoices, err)
	}
	if status, _, told := shopTest("--once", "--billing", "billing.db"); status != 2 || !strings.Contains(told, "postgres://") {
		t.Errorf("a file for --billing: exit status %d, %q, want 2 and what is needed", status, told)
	}
}

// interruptAt returns a writer that calls interrupt when it is told a text.
func interruptAt(text string, interrupt func()) writerFunc {
	return func(p []byte) (int, error) {
		if strings.Contains(string(p), text) {
			interrupt()
		}
		return len(p), nil
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestOrderFile trades a whole file, which takes a minute or two for the real
// one: LEAT_TEST_ORDERS=../../../shared/data/online-retail.csv.gz.
func TestOrderFile(t *testing.T) {
	file := os.Getenv(realFile)
	if file == "" {
		t.Skipf("set %s to the path of an order file", realFile)
	}
	if status, out, told := shopTest("--once", "--orders", file); status != 0 {
		t.Errorf("exit status %d\n%s%s", status, told, out)
	}
}
