package retail_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/leathq/leat/examples/shop/retail"
)

func TestGenerateIsDeterministic(t *testing.T) {
	file := generate(t, 1, 2000)
	if !bytes.Equal(file, generate(t, 1, 2000)) {
		t.Error("the same seed and count gave another file")
	}
	if bytes.Equal(file, generate(t, 2, 2000)) {
		t.Error("another seed gave the same file")
	}
	// Reports and guides quote figures of this file.
	const want = "512699f9262fae3e0c9668f4e1078c028155abc8f6398786c27405300f6dae62"
	if got := fmt.Sprintf("%x", sha256.Sum256(file)); got != want {
		t.Errorf("SHA-256 of seed 1, count 2000: got %s, want %s", got, want)
	}
}

func TestGenerateHasEveryTrait(t *testing.T) {
	traits := []string{
		"rows without a customer", "rows without a description", "exact duplicates", "rows at £0.001",
		"invoices interrupted", "invoices over two minutes",
		"articles in lower case twice", "charges", "articles with several descriptions",
		"lines at no price", "orders at no price", "cash sales", "billing adjustments", "billing adjustments net",
		"lost rows", "lost rows without a reason", "found rows", "found rows without a reason", "charge rows",
		"cash cancellation rows", "rows matched", "rows matched in part", "rows not matched", "rows of several lines",
		"pieces at another price", "pieces in another country", "goodwill units", "goods returned",
		"orders cancelled", "orders cancelled in part",
	}
	for seed := range uint64(20) {
		for _, count := range []int{200, 2000} {
			file := generate(t, seed, count)
			plan, err := retail.Read("generated", bytes.NewReader(file))
			if err != nil {
				t.Fatalf("seed %d, count %d: %v", seed, count, err)
			}
			n := facts(t, rawRows(t, bytes.NewReader(file)), plan)
			for _, trait := range traits {
				if n[trait] == 0 {
					t.Errorf("seed %d, count %d: no %s", seed, count, trait)
				}
			}
			if n["orders"] != int64(count) {
				t.Errorf("seed %d: got %d orders, want %d", seed, n["orders"], count)
			}
			if n["lines of the longest order"] < 200 {
				t.Errorf("seed %d, count %d: the longest order has %d lines, want 200 or more", seed, count, n["lines of the longest order"])
			}
			if n["balance"] != n["sum of the rows"] {
				t.Errorf("seed %d, count %d: balance %d, sum of the rows %d", seed, count, n["balance"], n["sum of the rows"])
			}
			if top, mean := topArticle(plan), int(n["order lines"]/n["articles"]); top < 5*mean {
				t.Errorf("seed %d, count %d: the top article has %d lines, want over five times the mean of %d", seed, count, top, mean)
			}
		}
	}
}

func topArticle(plan *retail.Plan) int {
	lines := map[string]int{}
	top := 0
	for _, s := range plan.Steps {
		if o, ok := s.(*retail.Order); ok {
			for _, l := range o.Lines {
				lines[l.SKU]++
				top = max(top, lines[l.SKU])
			}
		}
	}
	return top
}

func TestGenerateSmall(t *testing.T) {
	for count := range 60 {
		if count == 0 {
			continue
		}
		plan, err := retail.Read("generated", bytes.NewReader(generate(t, 7, count)))
		if err != nil {
			t.Fatalf("count %d: %v", count, err)
		}
		orders := 0
		for _, s := range plan.Steps {
			if _, ok := s.(*retail.Order); ok {
				orders++
			}
		}
		if orders != count {
			t.Errorf("count %d: got %d orders", count, orders)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, count := range []int{-1, 0, retail.MaxGenerated + 1} {
		var b bytes.Buffer
		if err := retail.Generate(&b, 1, count); err == nil || b.Len() > 0 {
			t.Errorf("count %d: got %d bytes and error %v, want none and an error", count, b.Len(), err)
		}
	}
	full := errors.New("disk is full")
	if err := retail.Generate(failingWriter{full}, 1, 100); !errors.Is(err, full) {
		t.Errorf("a writer that fails: got %v, want %v", err, full)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
