package archive

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/tlog"
)

// A columnReader reads a column page by page. What a page says is checked when
// it is loaded, so that reading its values needs no further care.
type columnReader struct {
	pages     parquet.Pages
	page      parquet.Page
	row, rows int // of the page: the next, and how many it has

	numbers []int64            // of a column of numbers
	hashes  []byte             // of a column of hashes
	texts   texts              // of a column of texts: each row's, or those of its dictionary
	indexes []int32            // in its dictionary
	names   parquet.Dictionary // that texts are of; all pages of a column have the same

	// Of a column of attributes: of its entries, whether they go on with a row and
	// whether they are there at all, and which are next.
	repetition, definition []byte
	next, value            int
}

// texts lie one after the other.
type texts struct {
	bytes   []byte
	offsets []uint32 // of each, and of the end
}

// An encoding is how a column is written.
type encoding uint8

const (
	encodedNumbers encoding = iota
	encodedHashes
	encodedPlain
	encodedNames // in a dictionary
)

var encodings = [numColumns]encoding{
	colShard: encodedNames, colEventID: encodedPlain, colStream: encodedNames, colCategory: encodedNames, colType: encodedNames,
	colSource: encodedNames, colContentType: encodedNames, colData: encodedPlain, colMetaKey: encodedNames,
	colMetaValue: encodedPlain, colLeafHash: encodedHashes,
}

var (
	errEnd      = errors.New("has fewer rows than the file")
	errValues   = errors.New("a page has fewer values than rows")
	errOffsets  = errors.New("lengths in a page do not add up")
	errNames    = errors.New("a page names what is not in its dictionary")
	errEncoding = errors.New("is encoded in another way than is written")
	errLevels   = errors.New("a page does not begin with a row, or is nested more deeply than it can be")
)

// more makes sure that there is a row to read.
func (c *columnReader) more(column int) error {
	if c.row < c.rows {
		return nil
	}
	return c.load(column)
}

// load makes the next page that has rows the one to read.
func (c *columnReader) load(column int) error {
	err := caught(func() error {
		for {
			c.release()
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return errEnd
			}
			if err != nil {
				return err
			}
			c.page = page
			if err := c.open(encodings[column]); err != nil || c.rows > 0 {
				return err
			}
		}
	})
	if err != nil {
		c.release()
		return fmt.Errorf("column %s: %w", segmentSchema.Columns()[column], err)
	}
	return nil
}

// open checks the page and finds its values.
func (c *columnReader) open(e encoding) error {
	rows, values := int(c.page.NumRows()), int(c.page.NumValues())
	c.repetition, c.definition = c.page.RepetitionLevels(), c.page.DefinitionLevels()
	c.next, c.value = 0, 0
	if len(c.repetition) > 0 || len(c.definition) > 0 {
		if err := c.checkLevels(); err != nil {
			return err
		}
		values -= int(c.page.NumNulls())
	}
	data, dictionary := c.page.Data(), c.page.Dictionary()
	if (dictionary != nil) != (e == encodedNames) {
		return errEncoding
	}
	switch e {
	case encodedNumbers:
		if c.numbers = data.Int64(); len(c.numbers) < values {
			return errValues
		}
	case encodedHashes:
		hashes, size := data.FixedLenByteArray()
		if size != tlog.HashSize || len(hashes)/size < values {
			return errValues
		}
		c.hashes = hashes
	case encodedPlain:
		c.texts.bytes, c.texts.offsets = data.ByteArray()
		if err := c.texts.check(values); err != nil {
			return err
		}
	case encodedNames:
		if err := c.openNames(dictionary); err != nil {
			return err
		}
		if c.indexes = data.Int32(); len(c.indexes) < values {
			return errValues
		}
		most := uint32(len(c.texts.offsets) - 1)
		for _, i := range c.indexes[:values] {
			if uint32(i) >= most {
				return errNames
			}
		}
	}
	c.row, c.rows = 0, rows
	return nil
}

// openNames makes a dictionary that of the column.
func (c *columnReader) openNames(d parquet.Dictionary) error {
	if c.names == d {
		return nil
	}
	page := d.Page()
	data := page.Data()
	c.texts.bytes, c.texts.offsets = data.ByteArray()
	if err := c.texts.check(d.Len()); err != nil {
		return err
	}
	c.names = d
	return nil
}

func (t *texts) check(n int) error {
	if n < 0 || len(t.offsets) < n+1 {
		return errValues
	}
	t.offsets = t.offsets[:n+1]
	last := uint32(0)
	for _, offset := range t.offsets {
		if offset < last {
			return errOffsets
		}
		last = offset
	}
	if uint64(last) > uint64(len(t.bytes)) {
		return errOffsets
	}
	return nil
}

// checkLevels checks what the page says of the entries of its rows.
func (c *columnReader) checkLevels() error {
	if len(c.repetition) != len(c.definition) || c.repetition[0] != 0 {
		return errLevels
	}
	for i := range c.repetition {
		if c.repetition[i] > 1 || c.definition[i] > 1 {
			return errLevels
		}
	}
	return nil
}

func (c *columnReader) number() int64 {
	v := c.numbers[c.row]
	c.row++
	return v
}

func (c *columnReader) hash() tlog.Hash {
	h := tlog.Hash(c.hashes[c.row*tlog.HashSize:][:tlog.HashSize])
	c.row++
	return h
}

// bytes returns a text that is good until the next page is loaded.
func (c *columnReader) bytes() []byte {
	b := c.texts.at(c.row)
	c.row++
	return b
}

// name returns a text of the dictionary, which stays.
func (c *columnReader) name() string {
	s := text(c.texts.at(int(c.indexes[c.row])))
	c.row++
	return s
}

func (t *texts) at(i int) []byte {
	begin, end := t.offsets[i], t.offsets[i+1]
	return t.bytes[begin:end:end]
}

// entry returns the next key or value of a map, and false for the one that
// stands for an empty map.
func (c *columnReader) entry() (string, bool) {
	if c.repetition[c.next] == 0 {
		c.row++
	}
	c.next++
	if c.definition[c.next-1] == 0 {
		return "", false
	}
	i := c.value
	c.value++
	if c.names != nil {
		i = int(c.indexes[i])
	}
	return text(c.texts.at(i)), true
}

// goesOn reports whether the next entry belongs to the row of the last.
func (c *columnReader) goesOn() bool { return c.next < len(c.repetition) && c.repetition[c.next] == 1 }

// seek makes a row the next one to be read.
func (c *columnReader) seek(row int64) error {
	c.release()
	return c.pages.SeekToRow(row)
}

func (c *columnReader) release() {
	c.row, c.rows = 0, 0
	if c.page != nil {
		parquet.Release(c.page)
		c.page = nil
	}
}

func (c *columnReader) close() {
	c.release()
	if c.pages != nil {
		c.pages.Close()
	}
}

// text returns b as a string that shares its memory.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
