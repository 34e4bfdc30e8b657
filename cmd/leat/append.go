package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/eventjson"
)

const defaultSource = "leat"

type appendCmd struct {
	logFlag
	Stream      string            `arg:"" optional:"" help:"The stream, such as order-1."`
	Type        string            `arg:"" optional:"" help:"What happened, such as OrderPlaced."`
	Data        string            `arg:"" optional:"" default:"-" help:"The event's data; read from standard input when left out or -."`
	ID          string            `help:"The event's ID. Recording the same ID in a stream again does nothing. A UUID when left out."`
	Source      string            `default:"leat" help:"The service that records it."`
	Time        time.Time         `placeholder:"TIME" help:"When it happened (RFC 3339); now when left out."`
	ContentType string            `default:"application/json" placeholder:"TYPE" help:"Media type of the data. What is said to be JSON must be JSON."`
	Meta        map[string]string `placeholder:"KEY=VALUE" help:"A further attribute, such as correlationid=…; may be repeated."`
	Expect      string            `placeholder:"VERSION" help:"Only if the stream is at this version: a number, new or exists."`
	JSONL       string            `name:"jsonl" type:"existingfile" placeholder:"FILE" help:"Record the events in FILE (- is standard input) instead, one JSON object a line."`
	JSON        bool              `help:"Print the receipt as JSON."`
}

func (appendCmd) Help() string {
	return `
Prints where the event stands once it is durable.

	$ leat append order-1 OrderPlaced '{"total":1250}'
	$ leat append order-1 OrderPlaced '{"total":1250}' --id place-1 --expect new
	$ leat append picture-7 Taken --content-type image/png < picture.png

With --jsonl, each line holds the fields that read --json prints; stream and type are needed. All lines are checked
before the first is recorded. Events of one stream stay in order. Lines that have an id can be given again: what is
recorded already is passed over.

	$ leat append --jsonl events.jsonl
	$ leat read --log dir:old --json | leat append --log dir:new --jsonl -
`
}

func (cmd appendCmd) Validate() error {
	switch {
	case cmd.JSONL == "" && (cmd.Stream == "" || cmd.Type == ""):
		return errors.New("say what to record: STREAM TYPE [DATA], or --jsonl FILE")
	case cmd.JSONL != "" && (cmd.Stream != "" || cmd.Expect != "" || cmd.ID != ""):
		return errors.New("--jsonl takes everything from its lines: leave out STREAM, --id and --expect")
	}
	return nil
}

func (cmd appendCmd) Run(ctx context.Context, c console) error {
	if cmd.JSONL != "" {
		return cmd.appendLines(ctx, c)
	}
	event, conds, err := cmd.event(c.in)
	if err != nil {
		return err
	}
	return cmd.with(ctx, func(log leat.Log) error {
		events := []leat.Event{event}
		receipt, err := log.Append(ctx, events, conds...)
		if err != nil {
			return err
		}
		if cmd.JSON {
			return json.NewEncoder(c.out).Encode(eventjson.FromReceipt(receipt, events))
		}
		return cmd.printReceipt(c.out, receipt)
	})
}

func (cmd appendCmd) event(in io.Reader) (leat.Event, []leat.Condition, error) {
	conds, err := expectation(cmd.Stream, cmd.Expect)
	if err != nil {
		return leat.Event{}, nil, err
	}
	data := []byte(cmd.Data)
	if cmd.Data == "-" {
		if data, err = io.ReadAll(in); err != nil {
			return leat.Event{}, nil, fmt.Errorf("read the data from standard input: %w", err)
		}
	}
	if eventjson.IsJSON(cmd.ContentType) {
		if err := checkJSON(data); err != nil {
			return leat.Event{}, nil, err
		}
	}
	return leat.Event{
		ID: cmd.ID, Stream: cmd.Stream, Type: cmd.Type, Source: cmd.Source, Time: cmd.Time,
		ContentType: cmd.ContentType, Data: data, Meta: eventjson.Meta(cmd.Meta),
	}, conds, nil
}

func checkJSON(data []byte) error {
	var v json.RawMessage
	err := json.Unmarshal(data, &v)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return &leat.InvalidError{Field: "data", Limit: "JSON (or give another --content-type)", Got: fmt.Sprintf("%v at byte %d", err, syntax.Offset)}
	}
	return &leat.InvalidError{Field: "data", Limit: "JSON (or give another --content-type)", Got: err.Error()}
}

func expectation(stream, expect string) ([]leat.Condition, error) {
	switch expect {
	case "":
		return nil, nil
	case "new":
		return []leat.Condition{leat.ExpectNew(stream)}, nil
	case "exists":
		return []leat.Condition{leat.ExpectExists(stream)}, nil
	}
	v, err := strconv.ParseUint(expect, 10, 64)
	if err != nil {
		return nil, &leat.InvalidError{Field: "--expect", Limit: "a version, new or exists", Got: fmt.Sprintf("%q", expect)}
	}
	return []leat.Condition{leat.ExpectVersion(stream, v)}, nil
}

func (cmd appendCmd) printReceipt(w io.Writer, r leat.Receipt) error {
	said := "recorded"
	if r.Duplicate {
		said = "recorded before"
	}
	_, err := fmt.Fprintf(w, "%s: %s version %d, %s sequence %d\n", said, printable([]byte(cmd.Stream)), r.Versions[0], r.Shard, r.First)
	return err
}

// appendLines records the events of a JSON lines file, after it has checked all
// of them.
func (cmd appendCmd) appendLines(ctx context.Context, c console) error {
	file, err := cmd.openLines(c.in)
	if err != nil {
		return err
	}
	defer file.Close()
	return cmd.with(ctx, func(log leat.Log) error {
		checked, err := checkLines(file, leat.LimitsOf(log))
		if err != nil {
			return fmt.Errorf("%w (nothing was recorded)", err)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		recorded, known, err := recordLines(ctx, log, file)
		if err != nil {
			return fmt.Errorf("%w (%d of %d events are recorded)", err, recorded+known, checked)
		}
		fmt.Fprintf(c.out, "recorded %d events, %d were recorded before\n", recorded, known)
		return nil
	})
}

// openLines returns a file that can be read twice. Standard input is copied to
// a temporary one.
func (cmd appendCmd) openLines(in io.Reader) (*os.File, error) {
	if cmd.JSONL != "-" {
		return os.Open(cmd.JSONL)
	}
	file, err := os.CreateTemp("", "leat-*.jsonl")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // the open file stays; where it cannot be removed it is left to the system's cleaning
	if _, err = io.Copy(file, in); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("copy standard input to a temporary file: %w", err)
	}
	return file, nil
}
