package wire_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var sentinels = []error{
	leat.ErrInvalid, leat.ErrCrossKey, leat.ErrIDReused, leat.ErrPartial, leat.ErrConflict, leat.ErrFull,
	leat.ErrUncertain, leat.ErrNotFound, leat.ErrTrimmed, leat.ErrDiverged, leat.ErrDenied, leat.ErrUnsupported,
	leat.ErrClosed, leat.ErrCorrupt, leat.ErrFenced, leat.ErrHeld, leat.ErrUnavailable,
}

// What errors.Is and the message say is the same at both ends.
func TestSentinels(t *testing.T) {
	for _, is := range sentinels {
		for name, err := range map[string]error{
			"alone":     is,
			"wrapped":   fmt.Errorf("append to shop: %w: try again", is),
			"with more": fmt.Errorf("%w: %w", leat.ErrUncertain, is),
		} {
			sameError(t, name, err)
		}
	}
}

func TestTypedErrors(t *testing.T) {
	for _, err := range []error{
		&leat.InvalidError{Field: "events[3].stream", Limit: "1 to 256 bytes", Got: "nothing"},
		&leat.ConflictError{Condition: leat.ExpectVersion("a-1", 7), Actual: 9},
		&leat.ConflictError{Condition: leat.ExpectExists("a-1")},
		&leat.IDReusedError{Index: 4, Stream: "a-1", ID: "x", Reason: "recorded with other content"},
		&leat.PartialError{Known: []int{1, 3}, Total: 5},
		&leat.TrimmedError{Stream: "a-1", Oldest: 7},
		&leat.TrimmedError{Shard: leat.ShardNumber(1), Oldest: 7},
		&leat.DivergedError{Reason: "the checkpoint is of another log"},
		&leat.HeldError{Lease: leat.Lease{App: "app", Shard: leat.ShardNumber(0), Owner: "a", Token: 3, Expires: time.Unix(5, 7).UTC()}},
	} {
		if got := sameError(t, "alone", err); !reflect.DeepEqual(got, err) {
			t.Errorf("%#v came as %#v", err, got)
		}
		wrapped := sameError(t, "wrapped", fmt.Errorf("append: %w", err))
		target := reflect.New(reflect.TypeOf(err))
		if !errors.As(wrapped, target.Interface()) || !reflect.DeepEqual(target.Elem().Interface(), err) {
			t.Errorf("wrapped %#v came as %#v", err, wrapped)
		}
	}
}

// sameError fails the test unless err comes through a status as what it is, and
// returns what came.
func sameError(t *testing.T, name string, err error) error {
	t.Helper()
	got := wire.FromStatus(wire.Status(err))
	if got == nil {
		t.Fatalf("%s: nothing of %q came", name, err)
	}
	if got.Error() != err.Error() {
		t.Errorf("%s: message %q came as %q", name, err, got)
	}
	for _, is := range sentinels {
		if errors.Is(got, is) != errors.Is(err, is) {
			t.Errorf("%s: %q is %q: came as %t, want %t", name, err, is, errors.Is(got, is), errors.Is(err, is))
		}
	}
	return got
}

func TestOtherErrors(t *testing.T) {
	if got := wire.FromStatus(wire.Status(errors.New("disk on fire"))); got == nil || got.Error() != "disk on fire" {
		t.Errorf("an error that is no sentinel came as %v", got)
	}
	for err, want := range map[error]codes.Code{
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		if code := status.Code(wire.Status(err)); code != want {
			t.Errorf("%v has code %s, want %s", err, code, want)
		}
	}
	if got := wire.FromStatus(status.Error(codes.Unavailable, "connection refused")); got != nil {
		t.Errorf("an error of the transport came as an answer: %v", got)
	}
}

// Status details travel in headers, which are bounded.
func TestLongErrorsAreCut(t *testing.T) {
	known := make([]int, 10_000)
	for i := range known {
		known[i] = i
	}
	for _, err := range []error{
		errors.New(strings.Repeat("x", 1<<20)),
		fmt.Errorf("%w: %s", leat.ErrCorrupt, strings.Repeat("\xff", 1<<20)),
		&leat.InvalidError{Field: strings.Repeat("f", 1<<20), Limit: strings.Repeat("l", 1<<20), Got: strings.Repeat("g", 1<<20)},
		&leat.PartialError{Known: known, Total: len(known)},
	} {
		s, _ := status.FromError(wire.Status(err))
		if len(s.Proto().String()) > 20<<10 {
			t.Errorf("%.40q… has a status of %d bytes", err, len(s.Proto().String()))
		}
		if wire.FromStatus(s.Err()) == nil {
			t.Errorf("nothing of %.40q… came", err)
		}
	}
}
