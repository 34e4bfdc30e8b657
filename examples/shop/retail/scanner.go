package retail

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// scanner takes a file apart into rows of text.
type scanner struct {
	file  string
	in    *csv.Reader
	bound *rowReader // below in
	width int        // fields of the header
	index [numColumns]int
	row   int // where the row read last begins
	rows  int // how many were read, without the header
}

// newScanner reads the header.
func newScanner(file string, r io.Reader) (*scanner, error) {
	bound := &rowReader{r: r}
	s := &scanner{file: file, in: csv.NewReader(bound), bound: bound}
	s.in.ReuseRecord = true
	header, err := s.read()
	if errors.Is(err, io.EOF) {
		return nil, &RowError{File: file, Row: 1, Limit: "a header that names the columns", Got: "an empty file"}
	}
	if err != nil {
		return nil, err
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // a byte order mark
	s.width = len(header)
	for i, column := range columns {
		s.index[i] = slices.Index(header, column)
		if s.index[i] < 0 {
			return nil, &RowError{File: file, Row: s.row, Column: column, Limit: "in the header", Got: brief(strings.Join(header, ","))}
		}
		if slices.Contains(header[s.index[i]+1:], column) {
			return nil, &RowError{File: file, Row: s.row, Column: column, Limit: "in the header once", Got: "it more often"}
		}
	}
	return s, nil
}

// next returns the next row, io.EOF behind the last. The fields' memory is that
// of the whole row: who keeps one clones it.
func (s *scanner) next() (fields, error) {
	record, err := s.read()
	if err != nil {
		return fields{}, err
	}
	if s.rows++; s.rows > MaxRows {
		return fields{}, &RowError{File: s.file, Row: s.row, Limit: fmt.Sprintf("one of at most %d rows", MaxRows)}
	}
	f := fields{row: s.row}
	for i, j := range s.index {
		f.text[i] = record[j]
	}
	return f, nil
}

func (s *scanner) read() ([]string, error) {
	s.bound.left = MaxRowBytes
	record, err := s.in.Read()
	if err != nil {
		return nil, s.explain(err, len(record))
	}
	s.row, _ = s.in.FieldPos(0)
	return record, nil
}

// explain says which row could not be read, and why. A row with a wrong number
// of fields comes with the error.
func (s *scanner) explain(err error, got int) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, errLongRow):
		return &RowError{File: s.file, Row: s.row + 1, Limit: fmt.Sprintf("at most %d bytes", MaxRowBytes), Got: "more (is a quote left open?)"}
	case !errors.As(err, &parse):
		return fmt.Errorf("read order file %s, row %d: %w", s.file, s.row+1, err)
	case errors.Is(err, csv.ErrFieldCount):
		return &RowError{File: s.file, Row: parse.StartLine, Limit: fmt.Sprintf("%d fields, as the header has", s.width), Got: fmt.Sprint(got)}
	default:
		return &RowError{
			File: s.file, Row: parse.StartLine, Got: parse.Err.Error(),
			Limit: "quoted as in RFC 4180: a field with quotes is in quotes, and those inside are doubled",
		}
	}
}

// rowReader bounds the memory that a row can make the CSV reader take: it
// passes on at most left bytes until left is set anew.
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
