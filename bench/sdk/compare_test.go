// Package sdk compares services that are built with Leat and with other libraries:
// how long they are, how fast they are, and what becomes of a read model when its
// projection is killed.
//
//	go test -run TestComparison -v -args -commands 20000 -kills 10
package sdk

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/leathq/leat/bench/sdk/readmodel"
	"github.com/leathq/leat/internal/pgtest"
)

var (
	commands = flag.Int("commands", 1_000, "commands that each service carries out")
	kills    = flag.Int("kills", 3, "how often each projection is killed")
	seed     = flag.Uint64("seed", 0, "of the moments of the kills; 0 draws one")
)

const (
	accounts = 2_000
	writers  = 8
)

// A candidate is a service under comparison. Its directory outlives it.
type candidate struct {
	name  string
	files []string // that one writes to have it; the test last
	open  func(ctx context.Context, dir, postgres string) (opened, error)
}

type opened struct {
	do      func(ctx context.Context, account string) error // a deposit of one penny
	project func(ctx context.Context, model *sql.DB) error  // until all is projected
	close   func() error
}

var candidates = []candidate{
	{"leat", []string{"withleat/account.go", "withleat/account_test.go"}, openLeat},
	{"hallgren", []string{"withhallgren/account.go", "withhallgren/account_test.go"}, openHallgren},
	{"watermill", []string{"withwatermill/account.go", "withwatermill/account_test.go"}, openWatermill},
}

// childEnv makes the test binary a process that projects: "NAME|DIR|POSTGRES".
const childEnv = "LEAT_SDK_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		if err := child(strings.Split(args, "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

func child(args []string) error {
	for _, c := range candidates {
		if c.name != args[0] {
			continue
		}
		ctx := context.Background()
		o, err := c.open(ctx, args[1], args[2])
		if err != nil {
			return err
		}
		model, err := readmodel.Open(ctx, filepath.Join(args[1], "killed.db"))
		if err != nil {
			return err
		}
		err = o.project(ctx, model)
		return errors.Join(err, model.Close(), o.close())
	}
	return fmt.Errorf("there is no candidate %q", args[0])
}

func TestComparison(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed %d", *seed)
	postgres := pgtest.Database(t)
	for _, c := range candidates {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Logf("%d lines, %d of them the test", lines(t, c.files...), lines(t, c.files[len(c.files)-1]))
			wrote := write(t, c, dir, postgres)
			t.Logf("writes    %7.0f events/s", float64(*commands)/wrote.Seconds())
			took := project(t, c, dir, postgres)
			t.Logf("projects  %7.0f events/s", float64(*commands)/took.Seconds())
			killed := kill(t, c, dir, postgres)
			lost, twice := judge(t, filepath.Join(dir, "killed.db"))
			t.Logf("after %d kills of the projection: of %d events %d are lost, and %d too many", killed, *commands, lost, twice)
			if c.name == "leat" && lost+twice > 0 {
				t.Error("Leat's read model is wrong")
			}
		})
	}
}

// lines counts lines that are neither empty nor comments.
func lines(t *testing.T, files ...string) (n int) {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for l := bufio.NewScanner(bytes.NewReader(text)); l.Scan(); {
			if s := strings.TrimSpace(l.Text()); s != "" && !strings.HasPrefix(s, "//") {
				n++
			}
		}
	}
	return n
}

func write(t *testing.T, c candidate, dir, postgres string) time.Duration {
	o, err := c.open(t.Context(), dir, postgres)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := time.Now()
	for w := range writers {
		wg.Go(func() {
			for i := w; i < *commands; i += writers {
				if err := o.do(t.Context(), fmt.Sprintf("a%d", i%accounts)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if err := o.close(); err != nil {
		t.Error(err)
	}
	return took
}

func project(t *testing.T, c candidate, dir, postgres string) time.Duration {
	o, err := c.open(t.Context(), dir, postgres)
	if err != nil {
		t.Fatal(err)
	}
	model, err := readmodel.Open(t.Context(), filepath.Join(dir, "model.db"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := o.project(t.Context(), model); err != nil {
		t.Error(err)
	}
	took := time.Since(began)
	events, err := readmodel.Events(t.Context(), model)
	if err := errors.Join(err, model.Close(), o.close()); err != nil || events != *commands {
		t.Errorf("%d of %d events are projected (%v)", events, *commands, err)
	}
	return took
}

// kill projects into an empty read model in a process that is killed again and
// again on its way, and returns how often.
func kill(t *testing.T, c candidate, dir, postgres string) (killed int) {
	if c.name == "watermill" { // the projection before has acknowledged everything
		forget(t, postgres)
	}
	rnd := rand.New(rand.NewPCG(*seed, 0))
	model, err := readmodel.Open(t.Context(), filepath.Join(dir, "killed.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	for {
		before := count(t, model)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{c.name, dir, postgres}, "|"))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		goal := before + 1 + rnd.IntN(1 + *commands / *kills)
		for again := time.NewTicker(time.Millisecond); ; {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatalf("%v\n%s", err, &said)
				}
				return killed
			case <-again.C:
			}
			if killed < *kills && count(t, model) >= goal {
				break
			}
		}
		_ = cmd.Process.Kill()
		<-ended
		killed++
	}
}

func count(t *testing.T, model *sql.DB) int {
	n, err := readmodel.Events(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// judge returns how many events a read model lacks, and how many it has too many.
func judge(t *testing.T, path string) (lost, twice int) {
	model, err := readmodel.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	made, err := readmodel.Accounts(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]int)
	for i := range *commands {
		want[fmt.Sprintf("a%d", i%accounts)]++
	}
	for account, n := range want {
		got := made[account] + made["account-"+account] // Leat's streams begin with the category
		lost, twice = lost+max(0, n-got), twice+max(0, got-n)
	}
	return lost, twice
}
