package wire

import (
	"context"
	"errors"
	"strings"

	"github.com/leathq/leat"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// situations lists what an error can be, in the order of leatv1.Kind.
var situations = []struct {
	kind leatv1.Kind
	is   error
	code codes.Code
}{
	{leatv1.Kind_KIND_INVALID, leat.ErrInvalid, codes.InvalidArgument},
	{leatv1.Kind_KIND_CROSS_KEY, leat.ErrCrossKey, codes.InvalidArgument},
	{leatv1.Kind_KIND_ID_REUSED, leat.ErrIDReused, codes.AlreadyExists},
	{leatv1.Kind_KIND_PARTIAL, leat.ErrPartial, codes.FailedPrecondition},
	{leatv1.Kind_KIND_CONFLICT, leat.ErrConflict, codes.Aborted},
	{leatv1.Kind_KIND_FULL, leat.ErrFull, codes.ResourceExhausted},
	{leatv1.Kind_KIND_NOT_FOUND, leat.ErrNotFound, codes.NotFound},
	{leatv1.Kind_KIND_TRIMMED, leat.ErrTrimmed, codes.OutOfRange},
	{leatv1.Kind_KIND_DIVERGED, leat.ErrDiverged, codes.FailedPrecondition},
	{leatv1.Kind_KIND_DENIED, leat.ErrDenied, codes.PermissionDenied},
	{leatv1.Kind_KIND_UNSUPPORTED, leat.ErrUnsupported, codes.Unimplemented},
	{leatv1.Kind_KIND_CLOSED, leat.ErrClosed, codes.Unavailable},
	{leatv1.Kind_KIND_CORRUPT, leat.ErrCorrupt, codes.DataLoss},
	{leatv1.Kind_KIND_FENCED, leat.ErrFenced, codes.Aborted},
	{leatv1.Kind_KIND_HELD, leat.ErrHeld, codes.Aborted},
	{leatv1.Kind_KIND_UNCERTAIN, leat.ErrUncertain, codes.Unknown},
	{leatv1.Kind_KIND_UNAVAILABLE, leat.ErrUnavailable, codes.Unavailable},
}

// maxMessage bounds the text of an error. Status details travel in headers,
// which peers refuse when they are long.
const maxMessage = 1024

// FromError returns the message of an error.
func FromError(err error) *leatv1.Error {
	m := &leatv1.Error{Message: cut(err.Error())}
	for _, s := range situations {
		if errors.Is(err, s.is) {
			m.Kinds = append(m.Kinds, s.kind)
		}
	}
	tell(m, err)
	return m
}

// tell sets what there is to tell of err.
func tell(m *leatv1.Error, err error) {
	var (
		invalid  *leat.InvalidError
		conflict *leat.ConflictError
		reused   *leat.IDReusedError
		partial  *leat.PartialError
		trimmed  *leat.TrimmedError
		diverged *leat.DivergedError
		held     *leat.HeldError
	)
	switch {
	case errors.As(err, &invalid):
		m.About = &leatv1.Error_Invalid{Invalid: &leatv1.Invalid{
			Field: cut(invalid.Field), Limit: cut(invalid.Limit), Got: cut(invalid.Got),
		}}
	case errors.As(err, &conflict):
		c := conflict.Condition
		m.About = &leatv1.Error_Conflict{Conflict: &leatv1.Conflict{
			Stream: c.Stream, Version: c.Version, Exists: c.Exists, Actual: conflict.Actual,
		}}
	case errors.As(err, &reused):
		m.About = &leatv1.Error_IdReused{IdReused: &leatv1.IDReused{
			Index: uint32(reused.Index), Stream: reused.Stream, Id: reused.ID, Reason: cut(reused.Reason),
		}}
	case errors.As(err, &partial):
		p := &leatv1.Partial{Total: uint32(partial.Total)}
		for _, k := range partial.Known {
			p.Known = append(p.Known, uint32(k))
		}
		m.About = &leatv1.Error_Partial{Partial: p}
	case errors.As(err, &trimmed):
		m.About = &leatv1.Error_Trimmed{Trimmed: &leatv1.Trimmed{
			Shard: string(trimmed.Shard), Stream: trimmed.Stream, Oldest: trimmed.Oldest,
		}}
	case errors.As(err, &diverged):
		m.About = &leatv1.Error_Diverged{Diverged: &leatv1.Diverged{Reason: cut(diverged.Reason)}}
	case errors.As(err, &held):
		l := held.Lease
		m.About = &leatv1.Error_Held{Held: &leatv1.Held{
			App: l.App, Shard: string(l.Shard), Owner: l.Owner, Token: l.Token, Expires: l.Expires.UnixNano(),
		}}
	}
}

// Error returns the error of a message, which is what the message says it is,
// as errors.Is and errors.As see it.
func Error(m *leatv1.Error) error {
	typed := about(m)
	if typed != nil && len(m.GetKinds()) == 1 && typed.Error() == m.GetMessage() {
		return typed
	}
	e := &remoteError{message: m.GetMessage()}
	if typed != nil {
		e.is = append(e.is, typed)
	}
	for _, s := range situations {
		for _, k := range m.GetKinds() {
			if k == s.kind && !errors.Is(typed, s.is) {
				e.is = append(e.is, s.is)
			}
		}
	}
	return e
}

// about returns the typed error that a message tells of, nil when it has none.
func about(m *leatv1.Error) error {
	switch a := m.GetAbout().(type) {
	case *leatv1.Error_Invalid:
		return &leat.InvalidError{Field: a.Invalid.GetField(), Limit: a.Invalid.GetLimit(), Got: a.Invalid.GetGot()}
	case *leatv1.Error_Conflict:
		c := a.Conflict
		return &leat.ConflictError{
			Condition: leat.Condition{Stream: c.GetStream(), Version: c.GetVersion(), Exists: c.GetExists()}, Actual: c.GetActual(),
		}
	case *leatv1.Error_IdReused:
		r := a.IdReused
		return &leat.IDReusedError{Index: int(r.GetIndex()), Stream: r.GetStream(), ID: r.GetId(), Reason: r.GetReason()}
	case *leatv1.Error_Partial:
		p := &leat.PartialError{Total: int(a.Partial.GetTotal())}
		for _, k := range a.Partial.GetKnown() {
			p.Known = append(p.Known, int(k))
		}
		return p
	case *leatv1.Error_Trimmed:
		t := a.Trimmed
		return &leat.TrimmedError{Shard: leat.ShardID(t.GetShard()), Stream: t.GetStream(), Oldest: t.GetOldest()}
	case *leatv1.Error_Diverged:
		return &leat.DivergedError{Reason: a.Diverged.GetReason()}
	case *leatv1.Error_Held:
		h := a.Held
		return &leat.HeldError{Lease: leat.Lease{
			App: h.GetApp(), Shard: leat.ShardID(h.GetShard()), Owner: h.GetOwner(),
			Token: h.GetToken(), Expires: moment(h.GetExpires()),
		}}
	}
	return nil
}

// A remoteError says what the other end said.
type remoteError struct {
	message string
	is      []error
}

func (e *remoteError) Error() string   { return e.message }
func (e *remoteError) Unwrap() []error { return e.is }

// Status returns the error that a gRPC handler answers err with: a status with
// the Error in its details, or the bare status of a context that has ended.
func Status(err error) error {
	m := FromError(err)
	code := codes.Internal
	switch {
	case len(m.GetKinds()) > 0:
		code = codeOf(m.GetKinds()[0])
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, m.GetMessage())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, m.GetMessage())
	}
	s, err := status.New(code, m.GetMessage()).WithDetails(shorten(m))
	if err != nil {
		return status.Error(code, m.GetMessage())
	}
	return s.Err()
}

func codeOf(kind leatv1.Kind) codes.Code {
	for _, s := range situations {
		if s.kind == kind {
			return s.code
		}
	}
	return codes.Unknown
}

// FromStatus returns the error that the other end answered with, and nil when
// err is of the transport.
func FromStatus(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range s.Details() {
		if m, ok := d.(*leatv1.Error); ok {
			return Error(m)
		}
	}
	return nil
}

// maxDetail bounds the detail of a status: gRPC sends it base64-coded in a
// trailer, of which peers take 16 KiB in all.
const maxDetail = 6 << 10

// shorten returns m, or a shorter m that leaves out the end of a long list.
func shorten(m *leatv1.Error) *leatv1.Error {
	p := m.GetPartial()
	if p == nil || proto.Size(m) <= maxDetail {
		return m
	}
	short := proto.Clone(m).(*leatv1.Error)
	short.GetPartial().Known = p.GetKnown()[:maxDetail/4]
	return short
}

// cut returns the beginning of s that is valid UTF-8 and not too long.
func cut(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
