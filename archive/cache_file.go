package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/leathq/leat"
)

// A file of a cache is
//
//	magic(8) length(8) checksum(4)  { data(≤ 64 KiB) checksum(4) } …
//
// The first checksum is the CRC32C of what is before it and of the key. That of
// a block goes on from the first one with the block's number and its data, so
// that no block is taken for another one, or for one of another file. Numbers
// are little-endian.
const (
	cacheMagic  = "leatcach"
	cacheHeader = len(cacheMagic) + 8 + 4
	cacheBlock  = 64 << 10

	// cacheTemp begins the names of files that are being written.
	cacheTemp = "tmp-"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBeyond says that a file of the cache holds less than what was asked for.
var errBeyond = errors.New("beyond the end of the object")

// cacheFileSize returns the size of the file that holds so many bytes.
func cacheFileSize(n int64) int64 {
	return int64(cacheHeader) + n + (n+cacheBlock-1)/cacheBlock*4
}

func cacheHead(key cacheKey, n int64) (head []byte, sum uint32) {
	head = binary.LittleEndian.AppendUint64([]byte(cacheMagic), uint64(n))
	sum = crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, []byte(key.text))
	return binary.LittleEndian.AppendUint32(head, sum), sum
}

func blockSum(head uint32, number int64, data []byte) uint32 {
	sum := crc32.Update(head, castagnoli, binary.LittleEndian.AppendUint64(nil, uint64(number)))
	return crc32.Update(sum, castagnoli, data)
}

// writeCacheFile writes a file, under another name first, so that nobody reads
// it unfinished. It is not synced: after a power cut its checksums tell.
func writeCacheFile(dir string, key cacheKey, data []byte) (err error) {
	f, err := os.CreateTemp(dir, cacheTemp+"*")
	if err != nil {
		return err
	}
	head, sum := cacheHead(key, int64(len(data)))
	buf := append(make([]byte, 0, cacheHeader+cacheBlock+4), head...)
	for number := int64(0); err == nil; number++ {
		n := min(cacheBlock, len(data))
		if n > 0 {
			buf = append(buf, data[:n]...)
			buf = binary.LittleEndian.AppendUint32(buf, blockSum(sum, number, data[:n]))
			data = data[n:]
		}
		_, err = f.Write(buf)
		buf = buf[:0]
		if len(data) == 0 {
			break
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), key.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// readCacheFile returns n bytes from an offset on, or all when n is negative, of
// what a file holds. It reads and checks only the blocks that these are in.
func readCacheFile(key cacheKey, offset, n int64) ([]byte, error) {
	f, err := os.Open(key.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var header [cacheHeader]byte
	if _, err := f.ReadAt(header[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint64(header[len(cacheMagic):]))
	head, sum := cacheHead(key, length)
	if string(head) != string(header[:]) || length < 0 || length > info.Size() || info.Size() != cacheFileSize(length) {
		return nil, fmt.Errorf("%w: cache file %s", leat.ErrCorrupt, key.path)
	}
	if n < 0 {
		n = length
	}
	if n > length-offset {
		return nil, errBeyond
	}
	if n == 0 {
		return []byte{}, nil
	}
	first, last := offset/cacheBlock, (offset+n-1)/cacheBlock
	from := cacheFileSize(first * cacheBlock)
	raw := make([]byte, min(cacheFileSize((last+1)*cacheBlock), info.Size())-from)
	if _, err := f.ReadAt(raw, from); err != nil {
		return nil, err
	}
	data := raw[:0] // the blocks move together over the checksums between them
	for number := first; number <= last; number++ {
		size := min(cacheBlock, len(raw)-4)
		block, want := raw[:size], binary.LittleEndian.Uint32(raw[size:])
		if blockSum(sum, number, block) != want {
			return nil, fmt.Errorf("%w: block %d of cache file %s", leat.ErrCorrupt, number, key.path)
		}
		data, raw = append(data, block...), raw[size+4:]
	}
	skip := offset - first*cacheBlock
	return data[skip : skip+n : skip+n], nil
}
