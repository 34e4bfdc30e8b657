package retail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of an order file. They keep an order within an event of 10 MiB, also
// when JSON makes six bytes of each, and every sum within an int64.
const (
	MaxQuantity  = 1_000_000             // units of a row, either way
	MaxPrice     = 1_000_000_000         // tenths of a penny a unit, either way: £1,000,000
	MaxTotal     = 1_000_000_000_000_000 // tenths of a penny: values of all rows, signs ignored
	MaxNameBytes = 64                    // of InvoiceNo, StockCode, CustomerID, Country
	MaxTextBytes = 128                   // of Description
	MaxRowBytes  = 64 << 10              // of a row of the file, columns that are not ours included
	MaxLines     = 5_000                 // rows of an invoice
	MaxRows      = 5_000_000             // rows of a file
)

// RowError says what is wrong with a row of an order file.
type RowError struct {
	File   string
	Row    int    // line of the file on which the row begins; the header stands on line 1
	Column string // such as "Quantity"; empty when it is the row as a whole
	Limit  string // what it must be
	Got    string // what it is, in short; may be empty
}

func (e *RowError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, row %d", e.File, e.Row)
	if e.Column != "" {
		fmt.Fprintf(&b, ", %s", e.Column)
	}
	fmt.Fprintf(&b, ": must be %s", e.Limit)
	if e.Got != "" {
		fmt.Fprintf(&b, ", got %s", e.Got)
	}
	return b.String()
}

// errEmpty: a run on a file without orders would agree with anything.
var errEmpty = errors.New("it has no rows below the header: check that it is the whole file")

// ReadFile reads the order file at path, see Read.
func ReadFile(path string) (*Plan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open order file: %w", err)
	}
	defer f.Close()
	return Read(filepath.Base(path), f)
}

// Read reads an order file, plain or compressed with gzip, and calls it name in
// errors. Columns are found by their names in the header; others are ignored.
// When a row breaks a rule it returns no Plan but a *RowError.
func Read(name string, r io.Reader) (*Plan, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("read order file %s: %w", name, err)
	}
	t, err := gather(name, plain)
	if err != nil {
		return nil, err
	}
	return t.plan(name)
}

func gather(name string, plain io.Reader) (*table, error) {
	s, err := newScanner(name, plain)
	if err != nil {
		return nil, err
	}
	t := newTable()
	for {
		f, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if bad := t.add(f); bad != nil {
			return nil, bad.at(name, f.row)
		}
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("read order file %s: %w", name, errEmpty)
	}
	return t, nil
}

func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	return gzip.NewReader(b)
}
