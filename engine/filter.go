package engine

import "sync/atomic"

// A nameFilter tells of most streams that are new that they are. It is a blocked
// Bloom filter (Putze, Sanders and Singler, Cache-, Hash- and Space-Efficient
// Bloom Filters, 2007): all bits of a name lie in one line of memory. Its size is
// fixed. It is safe for concurrent use.
type nameFilter struct {
	lines []filterLine
	ready atomic.Bool // it knows all names
}

type filterLine [8]atomic.Uint64

const filterBits = 6 // of a name

// newNameFilter returns a filter that takes so many bytes. With as many streams
// it guesses wrong once in forty times, with more it guesses worse.
func newNameFilter(bytes int64) *nameFilter {
	return &nameFilter{lines: make([]filterLine, max(1, bytes/64))}
}

// place returns the line of a hash and what its bits are taken from.
func (f *nameFilter) place(hash uint32) (*filterLine, uint64) {
	h := uint64(hash) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return &f.lines[h>>32%uint64(len(f.lines))], h * 0x94d049bb133111eb
}

func (f *nameFilter) add(hash uint32) {
	line, bits := f.place(hash)
	for range filterBits {
		line[bits>>61].Or(1 << (bits >> 55 & 63))
		bits <<= 9
	}
}

// mayHave reports whether a stream may exist.
func (f *nameFilter) mayHave(hash uint32) bool {
	if !f.ready.Load() {
		return true
	}
	line, bits := f.place(hash)
	for range filterBits {
		if line[bits>>61].Load()>>(bits>>55&63)&1 == 0 {
			return false
		}
		bits <<= 9
	}
	return true
}

// look fetches what mayHave looks at.
func (f *nameFilter) look(hash uint32) uint64 {
	line, _ := f.place(hash)
	return line[0].Load()
}
