package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/leathq/leat"
)

// columns of the file, by their names in its header.
var columns = []string{"case_id", "activity", "timestamp", "article", "points", "vehicleclass", "paymentamount", "totalpaymentamount", "activity_instance_id"}

// A row is one of the file, by column.
type row map[string]string

// readRows yields the rows of a file that is compressed with gzip. An error is the
// last pair, and names the line.
func readRows(path string) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		err := eachRow(path, func(r row) bool { return yield(r, nil) })
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", path, err))
		}
	}
}

func eachRow(path string, f func(row) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	lines := csv.NewReader(plain)
	lines.ReuseRecord = true
	header, err := lines.Read()
	if err != nil {
		return err
	}
	place := make(map[string]int)
	for i, name := range header {
		place[name] = i
	}
	for _, name := range columns {
		if _, ok := place[name]; !ok {
			return fmt.Errorf("line 1: there is no column %q", name)
		}
	}
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := make(row, len(columns))
		for _, name := range columns {
			r[name] = fields[place[name]]
		}
		if !f(r) {
			return nil
		}
	}
}

// event turns a row into an event as the log keeps it. Its ID is the source's, so
// an import that is repeated records nothing twice.
func (r row) event() (leat.Event, error) {
	day, err := time.Parse("2006-01-02T15:04:05.000Z", r["timestamp"])
	if err != nil {
		return leat.Event{}, r.wrong("timestamp", err)
	}
	e, err := r.decoded(day.Format(time.DateOnly))
	if err != nil {
		return leat.Event{}, err
	}
	typ, data, err := types.Encode(e)
	if err != nil {
		return leat.Event{}, err
	}
	return leat.Event{ID: r["activity_instance_id"], Stream: fines.Stream(r["case_id"]), Type: typ, Source: "fines-import", Time: day, Data: data}, nil
}

func (r row) decoded(day string) (Event, error) {
	switch activity := r["activity"]; activity {
	case "Create Fine":
		article, err := strconv.Atoi(r["article"])
		if err != nil {
			return nil, r.wrong("article", err)
		}
		points, err := strconv.Atoi(r["points"])
		if err != nil {
			return nil, r.wrong("points", err)
		}
		return Created{Article: article, Vehicle: r["vehicleclass"], Points: points}, nil
	case "Send Fine":
		return Sent{}, nil
	case "Insert Fine Notification":
		return Notified{}, nil
	case "Add penalty":
		return Penalised{}, nil
	case "Send for Credit Collection":
		return Collected{}, nil
	case "Payment":
		total, err := parseCents(r["totalpaymentamount"])
		if err != nil {
			return nil, r.wrong("totalpaymentamount", err)
		}
		return Paid{Day: day, Digits: r["paymentamount"], Total: total}, nil
	default:
		if !strings.Contains(activity, "Appeal") {
			return nil, r.wrong("activity", errors.New("it is not one of the source's"))
		}
		return Appealed{Step: activity}, nil
	}
}

func (r row) wrong(column string, err error) error {
	return fmt.Errorf("case %s, activity %s, %s %q: %w", r["case_id"], r["activity_instance_id"], column, r[column], err)
}

// parseCents reads a decimal with one or two places.
func parseCents(s string) (Cents, error) {
	euros, fraction, _ := strings.Cut(s, ".")
	if fraction == "" || len(fraction) > 2 {
		return 0, errors.New("it has no one or two decimals")
	}
	n, err := strconv.ParseInt(euros+fraction+"00"[len(fraction):], 10, 64)
	return Cents(n), err
}
