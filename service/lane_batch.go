package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leathq/leat"
)

// A task is an event to handle.
type task struct {
	leat.Recorded               // without Data
	event         leat.Recorded // what handle gets
	bytes         int           // of both
	unfit         error         // why there is nothing that handle could get
	attempts      int           // that failed and are put down to the event
	failures      int           // attempts that failed
	taken         uint64        // handling.taken when an attempt failed last
	most          int           // events of a batch that this one may be in, after one failed as a whole; 0: any
	done          bool
}

func (r *laneRun) newTask(e leat.Recorded) *task {
	t := &task{Recorded: e, event: e}
	t.Data = nil
	if r.prepare != nil {
		r.fit(t, e)
	}
	t.bytes = t.Size() + t.event.Size()
	return t
}

// fit makes of an event what handle gets.
func (r *laneRun) fit(t *task, e leat.Recorded) {
	err := guarded(func() (err error) {
		t.event, err = r.prepare(e)
		t.event.Shard, t.event.Seq, t.event.Commit, t.event.Version, t.event.At = e.Shard, e.Seq, e.Commit, e.Version, e.At
		return err
	})
	if err != nil {
		t.unfit = Permanent(err)
	}
}

// A portion is the first n tasks of a lane, in a batch.
type portion struct {
	lane *lane
	n    int
}

// A result is what became of a batch, or that a pause is over: of lanes, or of
// the run when there are none.
type result struct {
	batch  []portion
	err    error
	paused []*lane
}

// probing is what a run does when its batches fail and none in between is
// handled: whoever handles them may be away. It then tries one batch at a time,
// with pauses that grow, until something is handled. So it does not fall upon
// one who comes back with all that has gathered, nor does what fails for other
// reasons hold back for long what would be handled.
type probing struct {
	failed int // batches since something was handled
	pauses bool
}

// tolerance is how many batches may fail in a row before a run probes.
const tolerance = 3

func (p probing) waits(active int) bool {
	return p.failed >= tolerance && (p.pauses || active > 0)
}

// begin hands a batch of what is ready to a handler. A slot is taken for it.
func (r *laneRun) begin(work context.Context) {
	batch := r.nextBatch()
	var events []leat.Recorded
	unfit := batch[0].lane.tasks[0].unfit
	for _, p := range batch {
		for _, t := range p.lane.tasks[:p.n] {
			events = append(events, t.event)
		}
	}
	r.active++
	go func() {
		err := unfit
		if err == nil {
			err = guarded(func() error { return r.handle(work, events) })
		}
		<-r.slots
		r.results <- result{batch: batch, err: err}
	}()
}

// nextBatch takes the next batch of the lanes that are ready. It has at least
// one event.
func (r *laneRun) nextBatch() []portion {
	f := filling{bounds: r.bounds, most: max(1, r.bounds.Events)}
	var batch []portion
	var left []*lane // do not fit in
	next := 0
	for next < len(r.ready) && f.events < f.most {
		l := r.ready[next]
		next++
		p := portion{lane: l}
		for _, t := range l.tasks {
			if p.n > 0 && r.bounds.OnePerStream || !f.add(t) {
				break
			}
			p.n++
		}
		if p.n == 0 {
			left = append(left, l)
			continue
		}
		batch = append(batch, p)
	}
	r.ready = r.ready[next:]
	if len(left) > 0 {
		r.ready = append(left, r.ready...)
	}
	return batch
}

// A filling is a batch that is being put together.
type filling struct {
	bounds        Bounds
	events, bytes int
	most          int // events it may have; no more are added when it has them
}

// add reports whether it has room for a task, and adds it. One that is unfit is
// by itself.
func (f *filling) add(t *task) bool {
	size, most := t.event.Size(), f.most
	if t.most > 0 {
		most = min(most, t.most)
	}
	if t.unfit != nil {
		most = 1
	}
	if f.events >= most || f.events > 0 && f.bounds.Bytes > 0 && f.bytes+size > f.bounds.Bytes {
		return false
	}
	f.events, f.bytes, f.most = f.events+1, f.bytes+size, most
	return true
}

// took takes in what became of a batch, or of a pause.
func (r *laneRun) took(stop, work context.Context, res result) error {
	if res.batch == nil {
		r.waiting--
		r.ready = append(r.ready, res.paused...)
		if res.paused == nil {
			r.probing.pauses = false
		}
		return nil
	}
	r.active--
	if err := res.err; err != nil && (fatal(err) || work.Err() != nil && !errors.Is(err, ErrSkipped)) {
		return fmt.Errorf("%s: %w", describeLanes(res.batch[0].lane, len(res.batch)-1), err)
	}
	pauses := make(map[int][]failure) // by how often their first task has failed
	for _, f := range r.pass(stop, res) {
		if r.judge(f) {
			t := f.lane.tasks[0]
			pauses[t.failures] = append(pauses[t.failures], f)
		}
	}
	for failures, all := range pauses {
		r.rest(stop, failures, all)
	}
	r.advance()
	return nil
}

// A failure is that of the first task of a lane.
type failure struct {
	lane *lane
	err  error
	of   int // how many events err is about
}

// pass passes what is done of a batch, and returns the lanes whose first task
// failed. Of what is behind that in the lane nothing is known: it comes again.
func (r *laneRun) pass(stop context.Context, res result) (failed []failure) {
	total := 0
	for _, p := range res.batch {
		total += p.n
	}
	each, ok := errors.AsType[SendErrors](res.err)
	ok = ok && len(each) == total
	handled, skipped, begin := 0, 0, 0
	for _, p := range res.batch {
		f := failure{lane: p.lane}
		for i := range p.n {
			if f.err, f.of = res.err, total; ok {
				f.err, f.of = each[begin+i], 1
			}
			switch {
			case f.err == nil:
				handled++
			case errors.Is(f.err, ErrSkipped):
				f.err = nil
				skipped++
			}
			if f.err != nil {
				failed = append(failed, f)
				break
			}
			r.window.done(p.lane.tasks[0])
			p.lane.tasks = p.lane.tasks[1:]
		}
		begin += p.n
		switch {
		case f.err != nil:
		case len(p.lane.tasks) == 0:
			delete(r.lanes, p.lane.stream)
		default:
			r.ready = append(r.ready, p.lane)
		}
	}
	r.count(0, handled, skipped, 0)
	if r.handled != nil {
		r.handled(r.tally, handled)
	}
	if r.taken != nil {
		r.taken.Add(uint64(handled))
		r.probe(stop, handled, res.err)
	}
	return failed
}

// probe takes in how a batch fared, and lets the run pause when there were too
// many of which nothing was handled.
func (r *laneRun) probe(stop context.Context, handled int, err error) {
	p := &r.probing
	if handled > 0 {
		*p = probing{}
	}
	if handled > 0 || err == nil || isPermanent(err) {
		return
	}
	if p.failed++; p.failed < tolerance || p.pauses {
		return
	}
	p.pauses = true
	wait := max(r.retry.pause(p.failed), retryAfter(err))
	r.waiting++
	go func() {
		_ = pause(stop, wait)
		r.results <- result{}
	}()
}

// judge says what a failure leads to: that the events are tried in smaller
// batches, that the lane is parked, or, when it returns true, that it pauses
// before another attempt.
func (r *laneRun) judge(f failure) (pause bool) {
	t := f.lane.tasks[0]
	passing, alive := blameless(f.err), r.alive(t)
	lasting := isPermanent(f.err) && !passing
	t.failures++
	if f.of > 1 { // nobody can tell which of them is to blame
		t.most = f.of / 2
		if lasting {
			r.ready = append(r.ready, f.lane)
		}
		return !lasting
	}
	if passing {
		return true
	}
	if lasting || alive || t.attempts == 0 || r.taken == nil {
		t.attempts++
	}
	if lasting || t.attempts >= r.retry.Attempts {
		r.parkLane(f.lane, f.err)
		return false
	}
	return true
}

// alive reports whether other events were handled since a task failed last.
func (r *laneRun) alive(t *task) bool {
	if r.taken == nil {
		return true
	}
	before := t.taken
	t.taken = r.taken.Load()
	return t.taken > before
}

// rest lets lanes pause that failed as often as each other.
func (r *laneRun) rest(stop context.Context, failures int, all []failure) {
	res := result{}
	for _, f := range all {
		res.paused = append(res.paused, f.lane)
	}
	longest := slices.MaxFunc(all, func(a, b failure) int { return cmp.Compare(retryAfter(a.err), retryAfter(b.err)) })
	doing := describeLanes(all[0].lane, len(all)-1)
	r.waiting++
	go func() {
		_ = r.again(stop, doing, failures, longest.err)
		r.results <- res
	}()
}

// describeLanes names the first task of a lane, and how many lanes there are
// beside it.
func describeLanes(l *lane, more int) string {
	s := describe(l.tasks[0].Recorded)
	if more > 0 {
		s += fmt.Sprintf(" and events of %d other streams", more)
	}
	return s
}

// single handles an event by itself.
func (r *laneRun) single(ctx context.Context, e leat.Recorded) error {
	t := r.newTask(e)
	if t.unfit != nil {
		return t.unfit
	}
	err := guarded(func() error { return r.handle(ctx, []leat.Recorded{t.event}) })
	if each, ok := errors.AsType[SendErrors](err); ok && len(each) == 1 {
		err = each[0]
	}
	if err == nil && r.handled != nil {
		r.handled(r.tally, 1)
	}
	if err == nil && r.taken != nil {
		r.taken.Add(1)
	}
	return err
}
