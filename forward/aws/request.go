package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/cloudevent"
	"github.com/leathq/leat/service"
)

// callTimeout is how long a call may take, its repetitions by the SDK included.
const callTimeout = 30 * time.Second

// An entry is an event in a request.
type entry struct {
	*leat.Recorded
	place int // in the Delivery
	body  string
}

// A post sends one request. It returns how each of its entries fared, or an
// error about all of them.
type post func(ctx context.Context, entries []entry) ([]error, error)

// limits are a service's.
type limits struct {
	entries int // of a request
	request int // bytes of all entries
	message int // bytes of one
}

// send sends a delivery in as few requests as the limits let it.
func send(ctx context.Context, d service.Delivery, l limits, post post) error {
	errs := make(service.SendErrors, len(d.Events))
	var request []entry
	bytes := 0
	for i := range d.Events {
		e := entry{&d.Events[i], i, string(cloudevent.Marshal(d.Log, &d.Events[i]))}
		size := len(e.body) + len(e.Stream)
		if size > l.message {
			errs[i] = service.Permanent(&leat.InvalidError{
				Field: "event as JSON", Limit: fmt.Sprintf("at most %d bytes, the name of its stream included", l.message), Got: fmt.Sprintf("%d bytes", size),
			})
			continue
		}
		if len(request) == l.entries || bytes+size > l.request {
			_ = call(ctx, request, post, errs) // errs has it
			request, bytes = nil, 0
		}
		request, bytes = append(request, e), bytes+size
	}
	_ = call(ctx, request, post, errs) // errs has it
	return errs.OrNil()
}

// call sends one request, and returns the error of all of it. One that is refused
// as a whole is sent event by event, since nobody else can tell which of them is
// to blame, until the service does not answer.
func call(ctx context.Context, request []entry, post post, errs service.SendErrors) error {
	if len(request) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	each, err := post(within, request)
	if err != nil && len(request) > 1 && refused(err) {
		for i := range request {
			err := call(ctx, request[i:i+1], post, errs)
			if err == nil || refused(err) {
				continue
			}
			for _, e := range request[i+1:] {
				errs[e.place] = meaning(err)
			}
			return err
		}
		return nil
	}
	for i, e := range request {
		if err != nil {
			errs[e.place] = meaning(err)
		} else {
			errs[e.place] = each[i]
		}
	}
	return err
}

// check returns what it means that a destination could not be looked at: that
// there is none ends the App; whoever may not look may still send.
func check(what string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch code := api.ErrorCode(); {
	case slices.ContainsFunc(absent, func(c string) bool { return strings.HasSuffix(code, c) }):
		return service.Permanent(fmt.Errorf("%s: %w: %w", what, leat.ErrNotFound, err))
	case slices.Contains(denied, code):
		return nil
	}
	return fmt.Errorf("look at %s: %w", what, err)
}

// Codes of errors.
var (
	absent  = []string{"ResourceNotFoundException", "QueueDoesNotExist", "NonExistentQueue", "NotFound", "NotFoundException"}
	denied  = []string{"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"}
	invalid = []string{
		"ValidationException", "ValidationError", "InvalidArgumentException", "InvalidParameterValue", "InvalidParameter", "InvalidParameterException",
		"ParameterValueInvalid", "InvalidMessageContents", "BatchRequestTooLong", "MessageTooLong",
	}
	throttled = []string{
		"ProvisionedThroughputExceededException", "LimitExceededException", "RequestThrottled", "RequestLimitExceeded", "OverLimit",
		"TooManyRequestsException", "ServiceUnavailable", "InternalFailure", "InternalError",
	}
)

// refused reports whether an error is about what was sent, for good.
func refused(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(invalid, api.ErrorCode())
}

// meaning returns what an error of a call means to a Forwarder.
func meaning(err error) error {
	var api smithy.APIError
	var response *awshttp.ResponseError
	var dial *net.OpError
	switch {
	case refused(err):
		return service.Permanent(err)
	case errors.As(err, &api) && busy(api.ErrorCode()),
		errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError,
		errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%w: %w", leat.ErrUnavailable, err)
	}
	return err
}

// failed returns what the answer for one event means.
func failed(code, message string) error {
	err := fmt.Errorf("%s: %s", code, message)
	switch {
	case slices.Contains(invalid, code):
		return service.Permanent(err)
	case busy(code):
		return fmt.Errorf("%w: %w", leat.ErrUnavailable, err)
	}
	return err
}

func busy(code string) bool {
	return slices.Contains(throttled, code) || strings.Contains(strings.ToLower(code), "throttl")
}

// fifo reports whether a URL or ARN is that of a FIFO queue or topic.
func fifo(name string) bool { return strings.HasSuffix(name, ".fifo") }

// maxIDBytes is how long the two IDs of a message in a FIFO queue or topic may
// be.
const maxIDBytes = 128

// groupID returns the message group of a stream: its name, or a digest of it when
// a group cannot be called so.
func groupID(stream string) string {
	if len(stream) <= maxIDBytes && !strings.ContainsFunc(stream, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return stream
	}
	sum := sha256.Sum256([]byte(stream))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// deduplicationID returns what tells an event from all others: a digest of its
// stream and ID.
func deduplicationID(e *leat.Recorded) string {
	sum := sha256.Sum256([]byte(e.Stream + "\x00" + e.ID))
	return hex.EncodeToString(sum[:])
}
