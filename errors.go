package leat

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of an Append. Nothing was written, unless the error is ErrUncertain.
var (
	// ErrInvalid: something is out of bounds. An *InvalidError.
	ErrInvalid = errors.New("invalid")
	// ErrCrossKey: one Append concerns streams of different route keys.
	ErrCrossKey = errors.New("streams of one append need one route key")
	// ErrIDReused: an ID stands for something else already. An *IDReusedError.
	ErrIDReused = errors.New("event ID is in use")
	// ErrPartial: some of the events were recorded before. A *PartialError.
	ErrPartial = errors.New("some events are recorded already")
	// ErrConflict: a condition does not hold. A *ConflictError.
	ErrConflict = errors.New("conflict")
	// ErrFull: the store has no space. Append works again when it has.
	ErrFull = errors.New("no space left")
	// ErrUncertain: the outcome is unknown. Appending the same events again is
	// safe.
	ErrUncertain = errors.New("outcome is unknown; append the same events again")
)

// Errors of a reader.
var (
	// ErrNotFound: there is no such log or shard. (A stream that does not exist
	// reads as empty.)
	ErrNotFound = errors.New("not found")
	// ErrTrimmed: what was asked for is no longer kept. A *TrimmedError.
	ErrTrimmed = errors.New("trimmed")
	// ErrDiverged: a checkpoint does not lie on the log's history. A
	// *DivergedError.
	ErrDiverged = errors.New("checkpoint is not on this log's history")
)

// Errors of either.
var (
	// ErrDenied: the caller may not do this.
	ErrDenied = errors.New("denied")
	// ErrUnavailable: what is needed cannot be reached now, such as the archive
	// that has old events. Asking again may help.
	ErrUnavailable = errors.New("unavailable, try again")
	// ErrUnsupported: the log cannot do this.
	ErrUnsupported = errors.New("not supported")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("closed")
	// ErrCorrupt: what is stored is not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrFenced: another owner has taken over.
	ErrFenced = errors.New("fenced: another owner has taken over")
	// ErrHeld: another owner holds the lease. A *HeldError.
	ErrHeld = errors.New("held by another owner")
)

// InvalidError says which field is out of bounds and what the bound is. It is
// an ErrInvalid.
type InvalidError struct {
	Field string // such as "events[3].stream"
	Limit string // such as "1 to 256 bytes of UTF-8"
	Got   string // what was given, in short; may be empty
}

func (e *InvalidError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("invalid %s: must be %s", e.Field, e.Limit)
	}
	return fmt.Sprintf("invalid %s: must be %s, got %s", e.Field, e.Limit, e.Got)
}

func (e *InvalidError) Unwrap() error { return ErrInvalid }

// ConflictError says which condition did not hold. It is an ErrConflict.
type ConflictError struct {
	Condition Condition
	Actual    uint64 // the stream's version
}

func (e *ConflictError) Error() string {
	expected := fmt.Sprintf("version %d", e.Condition.Version)
	switch {
	case e.Condition.Exists:
		expected = "to exist"
	case e.Condition.Version == 0:
		expected = "to be new"
	}
	return fmt.Sprintf("conflict: stream %q is at version %d, expected %s", e.Condition.Stream, e.Actual, expected)
}

func (e *ConflictError) Unwrap() error { return ErrConflict }

// IDReusedError names an event whose ID stands for another one. It is an
// ErrIDReused.
type IDReusedError struct {
	Index      int // of the event in the Append
	Stream, ID string
	Reason     string // such as "recorded with other content"
}

func (e *IDReusedError) Error() string {
	return fmt.Sprintf("event ID %q of stream %q (events[%d]) is in use: %s", e.ID, e.Stream, e.Index, e.Reason)
}

func (e *IDReusedError) Unwrap() error { return ErrIDReused }

// PartialError lists the events of an Append that were recorded before. It is
// an ErrPartial.
type PartialError struct {
	Known []int // indices into the events of the Append, ascending
	Total int   // number of events in the Append
}

func (e *PartialError) Error() string {
	known := make([]string, 0, 9)
	for i, k := range e.Known {
		if i == 8 {
			known = append(known, "…")
			break
		}
		known = append(known, fmt.Sprint(k))
	}
	return fmt.Sprintf("%d of %d events are recorded already (%s), nothing written: append the rest",
		len(e.Known), e.Total, strings.Join(known, ", "))
}

func (e *PartialError) Unwrap() error { return ErrPartial }

// TrimmedError says where what is kept begins: one above the head, or above the
// stream's version, when nothing is. It is an ErrTrimmed.
type TrimmedError struct {
	Shard  ShardID // set when a shard was read
	Stream string  // set when a stream was read
	Oldest uint64  // first sequence of Shard, or first version of Stream, that is kept
}

func (e *TrimmedError) Error() string {
	if e.Stream != "" {
		return fmt.Sprintf("trimmed: stream %q is kept from version %d on", e.Stream, e.Oldest)
	}
	return fmt.Sprintf("trimmed: %s is kept from sequence %d on", e.Shard, e.Oldest)
}

func (e *TrimmedError) Unwrap() error { return ErrTrimmed }

// DivergedError says how a checkpoint and a log disagree. Whoever holds the
// checkpoint has seen events the log does not have: it has to be rebuilt from
// the log, or reset to a checkpoint the log has. It is an ErrDiverged.
type DivergedError struct {
	Reason string
}

func (e *DivergedError) Error() string {
	return "diverged: " + e.Reason + "; reset the reader to a checkpoint of this log or rebuild it"
}

func (e *DivergedError) Unwrap() error { return ErrDiverged }

// HeldError says who holds a lease, and until when. It is an ErrHeld.
type HeldError struct {
	Lease Lease
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("held: %s of application %q is leased to %q until %s",
		e.Lease.Shard, e.Lease.App, e.Lease.Owner, e.Lease.Expires.UTC().Format(time.RFC3339Nano))
}

func (e *HeldError) Unwrap() error { return ErrHeld }

// Code returns the stable name of the situation that err tells of, as doors and
// metrics spell it: "conflict" for ErrConflict, "id_reused" for ErrIDReused. It
// is empty when err is none of this package's errors. When err is several, the
// one that says most about what to do comes first.
func Code(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}

var codes = []struct {
	err  error
	code string
}{
	{ErrUncertain, "uncertain"}, // whatever the cause: the outcome is unknown
	{ErrInvalid, "invalid"},
	{ErrCrossKey, "cross_key"},
	{ErrIDReused, "id_reused"},
	{ErrPartial, "partial"},
	{ErrConflict, "conflict"},
	{ErrFull, "full"},
	{ErrNotFound, "not_found"},
	{ErrTrimmed, "trimmed"},
	{ErrDiverged, "diverged"},
	{ErrDenied, "denied"},
	{ErrUnsupported, "unsupported"},
	{ErrClosed, "closed"},
	{ErrCorrupt, "corrupt"},
	{ErrFenced, "fenced"},
	{ErrHeld, "held"},
	{ErrUnavailable, "unavailable"},
}
