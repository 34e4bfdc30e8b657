package http

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

// A follower sends what Follow yields to a client.
type follower struct {
	api     *api
	w       http.ResponseWriter
	control *http.ResponseController
	form    form
	at      leat.Checkpoint // after what was sent
}

// A form is how a follower writes what it sends.
type form interface {
	// batch writes a batch and moves the checkpoint past it.
	batch(b *bytes.Buffer, at *leat.Checkpoint, batch leat.Batch) error
	beat(b *bytes.Buffer)
	problem(b *bytes.Buffer, p *Problem) error
}

// run sends events until the client is gone, the log fails or the server
// drains.
func (f *follower) run(ctx context.Context, log leat.Log, filter leat.Filter) {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan leat.Batch)
	failed := make(chan error, 1)
	from := f.at.Clone()
	var reading sync.WaitGroup
	reading.Go(func() {
		for b, err := range leat.Follow(ctx, log, filter, from) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case batches <- b:
			case <-ctx.Done():
				return
			}
		}
	})
	defer reading.Wait()
	defer cancel()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var out bytes.Buffer
	f.form.beat(&out) // so that the client knows that it is connected
	for {
		if f.send(&out) != nil {
			return
		}
		var err error
		select {
		case b := <-batches:
			err = f.form.batch(&out, &f.at, b)
		case <-beat.C:
			f.form.beat(&out)
		case err = <-failed:
		case <-f.api.Draining.Done():
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			f.end(ctx, &out, err)
			return
		}
	}
}

// end tells the client why there will be no more.
func (f *follower) end(ctx context.Context, out *bytes.Buffer, err error) {
	if ctx.Err() != nil {
		return
	}
	out.Reset()
	if err := f.form.problem(out, f.api.problem(err)); err == nil {
		_ = f.send(out) // it is over either way
	}
}

// send writes what has gathered and empties it.
func (f *follower) send(out *bytes.Buffer) error {
	if out.Len() == 0 {
		return nil
	}
	defer out.Reset()
	if _, err := f.w.Write(out.Bytes()); err != nil {
		return err
	}
	return f.control.Flush()
}

// messages are Server-Sent Events: one a message, with the checkpoint after it
// as its id. A batch without events only moves the id.
type messages struct{}

func (messages) batch(b *bytes.Buffer, at *leat.Checkpoint, batch leat.Batch) error {
	at.Epoch = batch.Epoch
	for i := range batch.Events {
		e := &batch.Events[i]
		at.Set(batch.Shard, e.Seq)
		b.WriteString("id: " + at.String() + "\ndata: ")
		if err := encode(b, eventjson.FromRecorded(e)); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	if at.Seqs[batch.Shard] != batch.Next {
		at.Set(batch.Shard, batch.Next)
		b.WriteString("id: " + at.String() + "\n\n")
	}
	return nil
}

func (messages) beat(b *bytes.Buffer) { b.WriteString(":\n\n") }

func (messages) problem(b *bytes.Buffer, p *Problem) error {
	b.WriteString("event: problem\ndata: ")
	err := encode(b, p)
	b.WriteByte('\n')
	return err
}

// objects are JSON lines: a batch a line, an empty line when there is nothing.
type objects struct{}

// A followLine is a batch as one line of JSON.
type followLine struct {
	Checkpoint string            `json:"checkpoint" doc:"From where to go on after these events."`
	Events     []eventjson.Event `json:"events"`
	Problem    *Problem          `json:"problem,omitempty" doc:"Why the stream ends here."`
}

func (objects) batch(b *bytes.Buffer, at *leat.Checkpoint, batch leat.Batch) error {
	at.Advance(batch)
	return encode(b, followLine{Checkpoint: at.String(), Events: eventjson.FromAll(batch.Events)})
}

func (objects) beat(b *bytes.Buffer) { b.WriteByte('\n') }

func (objects) problem(b *bytes.Buffer, p *Problem) error {
	return encode(b, struct {
		Problem *Problem `json:"problem"`
	}{p})
}

// encode writes v as one line of JSON that passes embedded JSON on unchanged.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
