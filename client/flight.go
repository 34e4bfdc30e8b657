package client

import (
	"cmp"
	"slices"
)

// A flight is the Appends that were sent on a stream and are not answered, each
// under a number of its own. Numbers grow and do not come again, so that an
// answer which comes twice is not taken for that to another Append.
type flight struct {
	sent  []sent // each at its number modulo the length, a power of two
	last  uint64 // number that was given
	n     int    // Appends
	bytes int    // of them
}

type sent struct {
	number  uint64   // 0 when there is none
	pending *pending // nil when abandoned
	bytes   int
}

const firstFlight = 64 // places, when there are some

// add returns the number of an Append that is sent.
func (f *flight) add(a *pending) uint64 {
	if 2*f.n >= len(f.sent) {
		f.grow()
	}
	f.last++
	for f.at(f.last).number != 0 { // that of another, which waits for long
		f.last++
	}
	*f.at(f.last) = sent{f.last, a, len(a.encoded)}
	a.at = f.last
	f.n, f.bytes = f.n+1, f.bytes+len(a.encoded)
	return f.last
}

func (f *flight) at(number uint64) *sent { return &f.sent[number&uint64(len(f.sent)-1)] }

func (f *flight) grow() {
	before := f.sent
	f.sent = make([]sent, max(firstFlight, 2*len(before)))
	for _, s := range before {
		if s.number != 0 {
			*f.at(s.number) = s
		}
	}
}

// remove takes out what was answered: the Append, nil when it was abandoned or
// there is none of that number.
func (f *flight) remove(number uint64) *pending {
	if f.n == 0 || number == 0 || f.at(number).number != number {
		return nil
	}
	s := *f.at(number)
	*f.at(number) = sent{}
	f.n, f.bytes = f.n-1, f.bytes-s.bytes
	return s.pending
}

// abandon forgets an Append that was sent, whose answer is still to come.
func (f *flight) abandon(a *pending) { f.at(a.at).pending = nil }

// pending returns the Appends that were not abandoned, in the order in which
// they were sent.
func (f *flight) pending() []*pending {
	var flying []sent
	for _, s := range f.sent {
		if s.pending != nil {
			flying = append(flying, s)
		}
	}
	slices.SortFunc(flying, func(a, b sent) int { return cmp.Compare(a.number, b.number) })
	appends := make([]*pending, len(flying))
	for i := range flying {
		appends[i] = flying[i].pending
	}
	return appends
}
