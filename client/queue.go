package client

import "slices"

// A queue is the Appends that are to be sent, in order. One that is abandoned
// leaves a hole, so that it takes no longer however many there are.
type queue struct {
	appends []*pending // nil is a hole; the first is none
	holes   int
	first   uint64 // place of the first of appends
}

// len returns how many Appends there are.
func (q *queue) len() int { return len(q.appends) - q.holes }

func (q *queue) push(a *pending) {
	a.queued, a.at = true, q.first+uint64(len(q.appends))
	q.appends = append(q.appends, a)
}

// head returns the first Append.
func (q *queue) head() *pending { return q.appends[0] }

// pop takes out the first Append.
func (q *queue) pop() *pending {
	a := q.appends[0]
	a.queued = false
	q.drop()
	q.trim()
	return a
}

// drop drops the first place.
func (q *queue) drop() {
	q.appends[0] = nil
	q.appends, q.first = q.appends[1:], q.first+1
}

// trim drops the holes at the beginning.
func (q *queue) trim() {
	for len(q.appends) > 0 && q.appends[0] == nil {
		q.drop()
		q.holes--
	}
}

// abandon takes out an Append that is queued.
func (q *queue) abandon(a *pending) {
	const fewHoles = 64
	q.appends[a.at-q.first] = nil
	q.holes++
	if a.queued = false; q.holes > fewHoles && q.holes > len(q.appends)/2 {
		q.replace(q.appends)
		return
	}
	q.trim()
}

// pushFront puts Appends before all others.
func (q *queue) pushFront(appends []*pending) {
	if len(appends) > 0 {
		q.replace(slices.Concat(appends, q.appends))
	}
}

// keep takes out the Appends for which keep returns false, after which they are
// not touched: who waits for one may already use it for another.
func (q *queue) keep(keep func(*pending) bool) {
	for i, a := range q.appends {
		if a == nil {
			continue
		}
		if a.queued = false; !keep(a) {
			q.appends[i] = nil
		}
	}
	q.replace(q.appends)
}

// replace makes these the Appends, without the holes among them.
func (q *queue) replace(appends []*pending) {
	kept := appends[:0]
	for _, a := range appends {
		if a != nil {
			a.queued, a.at = true, q.first+uint64(len(kept))
			kept = append(kept, a)
		}
	}
	clear(appends[len(kept):])
	q.appends, q.holes = kept, 0
}
