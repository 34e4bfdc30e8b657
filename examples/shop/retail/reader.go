package retail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of an order file. They keep every event that is made of it far below
// what a log takes, and every sum within an int64.
const (
	MaxQuantity  = 1_000_000             // units of a row, either way
	MaxPrice     = 1_000_000_000         // tenths of a penny a unit, either way: £1,000,000
	MaxTotal     = 1_000_000_000_000_000 // tenths of a penny: values of all rows, signs ignored
	MaxNameBytes = 64                    // of InvoiceNo, StockCode, CustomerID, Country
	MaxTextBytes = 256                   // of Description
	MaxRowBytes  = 64 << 10              // of a row of the file, columns that are not ours included
	MaxLines     = 10_000                // rows of an invoice
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
// It returns a *RowError for the first row that breaks a rule, and no Plan.
func Read(name string, r io.Reader) (*Plan, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("read order file %s: %w", name, err)
	}
	t := newTable()
	if err := scan(name, plain, t.add); err != nil {
		return nil, err
	}
	if len(t.rows) == 0 {
		return nil, fmt.Errorf("read order file %s: %w", name, errEmpty)
	}
	return t.plan(name)
}

func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	return gzip.NewReader(b)
}

// scan calls add with each row below the header, its fields in the order of
// columns. The fields' memory is the reader's: add clones what it keeps.
func scan(name string, r io.Reader, add func(fields) *fault) error {
	limited := &rowReader{r: r}
	c := csv.NewReader(limited)
	c.ReuseRecord = true
	at, err := readHeader(name, limited, c)
	if err != nil {
		return err
	}
	last := 1
	for n := 1; ; n++ {
		limited.left = MaxRowBytes
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(name, last+1, len(at.header), err)
		}
		row, _ := c.FieldPos(0)
		last = row
		if n > MaxRows {
			return &RowError{File: name, Row: row, Limit: fmt.Sprintf("one of at most %d rows", MaxRows)}
		}
		f := fields{row: row}
		for i, j := range at.index {
			f.text[i] = record[j]
		}
		if bad := add(f); bad != nil {
			return bad.at(name, row)
		}
	}
}

// layout says where the columns stand.
type layout struct {
	header []string
	index  [len(columns)]int
}

func readHeader(name string, limited *rowReader, c *csv.Reader) (layout, error) {
	limited.left = MaxRowBytes
	record, err := c.Read()
	if err == io.EOF {
		return layout{}, &RowError{File: name, Row: 1, Limit: "a header that names the columns", Got: "an empty file"}
	}
	if err != nil {
		return layout{}, readError(name, 1, len(columns), err)
	}
	l := layout{header: slices.Clone(record)}
	l.header[0] = strings.TrimPrefix(l.header[0], "\ufeff")
	for i, column := range columns {
		l.index[i] = slices.Index(l.header, column)
		if l.index[i] < 0 {
			return layout{}, &RowError{File: name, Row: 1, Column: column, Limit: "in the header", Got: brief(strings.Join(l.header, ","))}
		}
		if slices.Contains(l.header[l.index[i]+1:], column) {
			return layout{}, &RowError{File: name, Row: 1, Column: column, Limit: "in the header once", Got: "it more often"}
		}
	}
	return l, nil
}

// readError says what kept a row from being read; row is where it begins if
// the CSV reader does not know.
func readError(name string, row, width int, err error) error {
	if errors.Is(err, errLongRow) {
		return &RowError{File: name, Row: row, Limit: fmt.Sprintf("at most %d bytes", MaxRowBytes), Got: "more (is a quote left open?)"}
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("read order file %s, row %d: %w", name, row, err)
	}
	limit := "quoted as in RFC 4180: a field with quotes is in quotes, and those inside are doubled"
	if errors.Is(err, csv.ErrFieldCount) {
		limit = fmt.Sprintf("%d fields, as the header has", width)
	}
	return &RowError{File: name, Row: parse.StartLine, Limit: limit, Got: parse.Err.Error()}
}

// rowReader bounds the memory that a row can make the CSV reader take: it
// passes on at most left bytes until the next row sets left anew.
type rowReader struct {
	r    io.Reader
	left int
}

var errLongRow = errors.New("row is too long")

func (r *rowReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errLongRow
	}
	if len(p) > r.left {
		p = p[:r.left]
	}
	n, err := r.r.Read(p)
	r.left -= n
	return n, err
}
