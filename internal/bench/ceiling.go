package bench

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// A Grouping says in what pieces events reached the disk: how many groups, each
// one write and one sync, how many events, and how many bytes.
type Grouping struct {
	Groups, Events, Bytes uint64
}

// A Ceiling is what the machine did with bytes alone.
type Ceiling struct {
	Events  float64 // that the bytes stand for
	Bytes   uint64
	Elapsed time.Duration
	Latency Histogram // of one group, or of one pass
}

// Rate returns the events per second, 0 when nothing was measured.
func (c *Ceiling) Rate() float64 { return rate(c.Events, c.Elapsed) }

// Add adds what another measurement of the same ceiling gave.
func (c *Ceiling) Add(o *Ceiling) {
	c.Events += o.Events
	c.Bytes += o.Bytes
	c.Elapsed += o.Elapsed
	c.Latency.Merge(&o.Latency)
}

const (
	fewestGroups   = 8       // that the ceiling of writing writes, however long it takes
	mostWriteBytes = 2 << 30 // that it writes
)

// WriteCeiling writes groups of the mean size in g to a new file in dir, one
// after the other, each with one write and one fdatasync, for the time given,
// and removes the file again. That is what a log could do at best that groups
// its events in this way and does nothing else.
func WriteCeiling(ctx context.Context, dir string, g Grouping, most time.Duration) (_ *Ceiling, err error) {
	if g.Groups == 0 || g.Bytes == 0 {
		return nil, errors.New("measure the ceiling: nothing was written that it could be compared with")
	}
	file, err := tempFile(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.remove()) }()

	group := noise(max(1, int(g.Bytes/g.Groups)))
	c := &Ceiling{}
	began := time.Now()
	for i := 0; i < fewestGroups || c.Bytes < mostWriteBytes && time.Since(began) < most; i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := file.Write(group); err != nil {
			return nil, fmt.Errorf("measure the ceiling: %w", err)
		}
		if err := syncData(file.File); err != nil {
			return nil, fmt.Errorf("measure the ceiling: sync %s: %w", file.Name(), err)
		}
		c.Latency.Add(time.Since(start), 1)
		c.Bytes += uint64(len(group))
		c.Events += float64(g.Events) / float64(g.Groups)
	}
	c.Elapsed = time.Since(began)
	return c, nil
}

const (
	mostReadBytes  = 256 << 20 // of the file that the ceiling of reading reads
	readChunkBytes = 256 << 10
)

// ReadCeiling writes events of a mean size to a new file in dir, and reads them
// back from the operating system's memory again and again for the time given,
// with a CRC32C over them. That is what a log could do at best that has to read
// its events and see that they are intact.
func ReadCeiling(ctx context.Context, dir string, events uint64, eventBytes float64, most time.Duration) (_ *Ceiling, err error) {
	size := int(min(float64(events)*eventBytes, mostReadBytes))
	if size == 0 {
		return nil, errors.New("measure the ceiling: nothing was read that it could be compared with")
	}
	file, err := tempFile(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.remove()) }()
	chunk := noise(readChunkBytes)
	for left := size; left > 0; left -= len(chunk) {
		if _, err := file.Write(chunk[:min(left, len(chunk))]); err != nil {
			return nil, fmt.Errorf("measure the ceiling: %w", err)
		}
	}
	c := &Ceiling{}
	began := time.Now()
	for c.Elapsed == 0 || c.Elapsed < most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := checksum(file.File, chunk); err != nil {
			return nil, fmt.Errorf("measure the ceiling: %w", err)
		}
		c.Latency.Add(time.Since(start), 1)
		c.Bytes += uint64(size)
		c.Events += float64(size) / eventBytes
		c.Elapsed = time.Since(began)
	}
	return c, nil
}

// checksum reads a file from its start to its end, with a CRC32C.
func checksum(f *os.File, buffer []byte) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for {
		n, err := f.Read(buffer)
		sum = crc32.Update(sum, table, buffer[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type temporary struct{ *os.File }

func tempFile(dir string) (temporary, error) {
	f, err := os.CreateTemp(dir, ".leat-ceiling-*")
	if err != nil {
		return temporary{}, fmt.Errorf("make a file to measure the ceiling with: %w", err)
	}
	return temporary{f}, nil
}

func (t temporary) remove() error {
	return errors.Join(t.Close(), os.Remove(t.Name()))
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}
