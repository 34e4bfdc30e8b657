package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// A line is an event and where its file has it.
type line struct {
	number int // from 1
	event  leat.Event
}

// maxLine is room for the largest event in base64, with its names and meta.
const maxLine = 64 << 20

// lines yields the events of a file with one JSON object a line. Empty lines are
// passed over.
func lines(file io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		s := bufio.NewScanner(file)
		s.Buffer(nil, maxLine)
		number := 0
		for s.Scan() {
			number++
			if len(bytes.TrimSpace(s.Bytes())) == 0 {
				continue
			}
			event, err := eventjson.Parse(s.Bytes())
			if err != nil {
				yield(line{}, fmt.Errorf("line %d: %w", number, err))
				return
			}
			if event.Source == "" {
				event.Source = defaultSource
			}
			if !yield(line{number, event}, nil) {
				return
			}
		}
		if errors.Is(s.Err(), bufio.ErrTooLong) {
			yield(line{}, fmt.Errorf("line %d: %w", number+1, &leat.InvalidError{Field: "line", Limit: fmt.Sprintf("at most %d bytes", maxLine)}))
		} else if s.Err() != nil {
			yield(line{}, s.Err())
		}
	}
}

// checkLines reports what is wrong with the first bad line, and the number of
// events.
func checkLines(file io.Reader, limits leat.Limits) (int, error) {
	count := 0
	for l, err := range lines(file) {
		if err != nil {
			return 0, err
		}
		if _, err := leat.PrepareAppend([]leat.Event{l.event}, nil, limits, false); err != nil {
			return 0, lineError(err, []line{l})
		}
		count++
	}
	return count, nil
}

// recordLines appends the events, those of a route key together as far as the
// limits of every log allow.
func recordLines(ctx context.Context, log leat.Log, file io.Reader) (recorded, known int, err error) {
	chunk := make(map[string][]line) // by route key
	events, bytes := 0, 0
	record := func() error {
		done, err := recordChunk(ctx, log, chunk)
		recorded, known = recorded+done.events, known+done.known
		clear(chunk)
		events, bytes = 0, 0
		return err
	}
	for l, err := range lines(file) {
		if err != nil {
			return recorded, known, err
		}
		if size := l.event.Size(); events+1 > leat.MinLimits.AppendEvents || events > 0 && bytes+size > leat.MinLimits.AppendBytes {
			if err := record(); err != nil {
				return recorded, known, err
			}
		}
		key := leat.RouteKey(l.event.Stream)
		chunk[key] = append(chunk[key], l)
		events, bytes = events+1, bytes+l.event.Size()
	}
	return recorded, known, record()
}

// tally counts the events of groups that are done.
type tally struct {
	sync.Mutex
	events, known int // recorded now, and before
}

// atOnce is how many groups are appended at a time, so that they share syncs
// and round trips.
const atOnce = 64

// recordChunk appends groups, each of another route key. When some fail, the
// others are recorded all the same.
func recordChunk(ctx context.Context, log leat.Log, groups map[string][]line) (*tally, error) {
	var t tally
	var work errgroup.Group
	work.SetLimit(atOnce)
	for _, group := range groups {
		work.Go(func() error {
			size := len(group)
			n, err := recordGroup(ctx, log, group)
			if err != nil {
				return err
			}
			t.Lock()
			defer t.Unlock()
			t.events, t.known = t.events+n, t.known+size-n
			return nil
		})
	}
	err := work.Wait()
	return &t, err
}

// recordGroup appends events of one route key and returns how many of them were
// new. Those that were recorded before are left out.
func recordGroup(ctx context.Context, log leat.Log, group []line) (int, error) {
	events := make([]leat.Event, len(group))
	for i := range group {
		events[i] = group[i].event
	}
	for {
		receipt, err := log.Append(ctx, events)
		var partial *leat.PartialError
		switch {
		case errors.As(err, &partial):
			for _, i := range slices.Backward(partial.Known) {
				events = slices.Delete(events, i, i+1)
				group = slices.Delete(group, i, i+1)
			}
		case err != nil:
			return 0, lineError(err, group)
		case receipt.Duplicate:
			return 0, nil
		default:
			return len(events), nil
		}
	}
}

// lineError names the line where an error names an event of a group.
func lineError(err error, group []line) error {
	var invalid *leat.InvalidError
	var reused *leat.IDReusedError
	i := 0
	switch {
	case errors.As(err, &reused):
		i = reused.Index
	case errors.As(err, &invalid):
		if _, e := fmt.Sscanf(invalid.Field, "events[%d]", &i); e != nil || i >= len(group) {
			i = 0
		}
	}
	return fmt.Errorf("line %d: %w", group[i].number, err)
}
