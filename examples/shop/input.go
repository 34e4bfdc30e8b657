package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/leathq/leat/examples/shop/check"
	"github.com/leathq/leat/examples/shop/retail"
)

// inputFile is the file in a data directory that says what it was begun with.
const inputFile = "input.json"

// An input is where orders come from: a file, or a seed and a count to make
// them up from.
type input struct {
	Orders string `json:"orders,omitempty"` // path of the file
	SHA256 string `json:"sha256,omitempty"` // of its content
	Seed   uint64 `json:"seed,omitempty"`
	Count  int    `json:"count,omitempty"`
}

// newInput returns what the flags ask for. Where they say nothing about it, a
// data directory goes on with what it was begun with.
func newInput(o options) (input, error) {
	begun, err := readInput(o.data)
	if err != nil {
		return input{}, err
	}
	asked := o.given["orders"] || o.given["seed"] || o.given["count"]
	in := input{Orders: o.orders, Seed: o.seed, Count: o.count}
	switch {
	case begun != nil && !asked:
		in = *begun
	case o.orders != "":
		in = input{Orders: o.orders}
	}
	if in.Orders != "" {
		if in.SHA256, err = digest(in.Orders); err != nil {
			return input{}, err
		}
	}
	if begun != nil && !begun.same(in) {
		return input{}, fmt.Errorf("data directory %s was begun with %s, not with %s: use the same, or another directory",
			o.data, begun, in)
	}
	return in, nil
}

// same reports whether both hold the same orders.
func (in input) same(o input) bool {
	if in.SHA256 != "" || o.SHA256 != "" {
		return in.SHA256 == o.SHA256
	}
	return in.Seed == o.Seed && in.Count == o.Count
}

func (in input) String() string {
	if in.Orders != "" {
		return fmt.Sprintf("--orders %s (sha256 %.12s…)", in.Orders, in.SHA256)
	}
	return fmt.Sprintf("--seed %d --count %d", in.Seed, in.Count)
}

// plan reads all orders, or says what is wrong with them.
func (in input) plan() (*retail.Plan, error) {
	if in.Orders != "" {
		return retail.ReadFile(in.Orders)
	}
	return generated(in, func(r io.Reader) (*retail.Plan, error) { return retail.Read("made-up orders", r) })
}

// expected computes what must come out, from the orders alone.
func (in input) expected() (*check.Expected, error) {
	if in.Orders != "" {
		return check.ExpectFile(in.Orders)
	}
	return generated(in, check.Expect)
}

// generated makes up orders for read while it reads them.
func generated[T any](in input, read func(io.Reader) (T, error)) (T, error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(retail.Generate(w, in.Seed, in.Count))
	}()
	t, err := read(r)
	r.CloseWithError(err) // so that Generate ends when read did not read all
	<-done
	return t, err
}

// keep notes in a data directory what it was begun with, before anything is
// recorded there.
func (in input) keep(dir string) error {
	if in.Orders != "" {
		path, err := filepath.Abs(in.Orders) // the next run may start elsewhere
		if err != nil {
			return fmt.Errorf("note the input: %w", err)
		}
		in.Orders = path
	}
	data, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return fmt.Errorf("note the input: %w", err)
	}
	path := filepath.Join(dir, inputFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("note the input: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("note the input: %w", err)
	}
	return nil
}

// readInput returns what a data directory was begun with, nil if it was not.
func readInput(dir string) (*input, error) {
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, inputFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the data directory was begun with: %w", err)
	}
	in := new(input)
	if err := json.Unmarshal(data, in); err != nil {
		return nil, fmt.Errorf("read what the data directory was begun with, %s: %w", path, err)
	}
	return in, nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open order file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read order file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
