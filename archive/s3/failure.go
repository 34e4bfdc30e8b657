package s3

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/leathq/leat"
)

// A failure is what a store answered instead of doing as asked, or why it did
// not answer.
type failure struct {
	status  int    // of the HTTP response, 0 when there was none
	code    string // the store's name for it, such as "SlowDown"
	message string
	request string // the store's ID of the request; its operator can look it up
	err     error  // from the client
}

func asFailure(err error) *failure {
	f := &failure{err: err}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		f.status = response.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		f.code, f.message = api.ErrorCode(), api.ErrorMessage()
	}
	var request *awshttp.ResponseError
	if errors.As(err, &request) {
		f.request = request.ServiceRequestID()
	}
	return f
}

func (f *failure) Error() string {
	var sent *url.Error
	switch {
	case errors.As(f.err, &sent): // without what the client says around it
		return sent.Error()
	case f.status == 0 || f.code == "":
		return f.err.Error()
	}
	s := fmt.Sprintf("HTTP %d %s", f.status, f.code)
	if f.message != "" && f.message != f.code {
		s += ": " + f.message
	}
	if f.request != "" {
		s += " (request " + f.request + ")"
	}
	return s
}

func (f *failure) Unwrap() error { return f.err }

// A finalError is one that trying again cannot mend, though the store answered
// as if all were well.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// again reports whether another attempt may have another outcome.
func (f *failure) again() bool {
	var final *finalError
	switch {
	case errors.As(f.err, &final):
		return false
	case f.status < 300, f.code == "": // no answer, or a broken one
		return true
	case slices.Contains(passing, f.code):
		return true
	case f.full(), f.status == http.StatusNotImplemented:
		return false
	}
	return f.status >= 500 || f.status == http.StatusConflict || f.status == http.StatusTooManyRequests ||
		f.status == http.StatusRequestTimeout
}

// passing are the codes of what passes though the status says that the request
// is at fault.
var passing = []string{
	"RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded",
	"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody",
}

// full reports whether the store has no space.
func (f *failure) full() bool {
	return f.status == http.StatusInsufficientStorage ||
		slices.Contains([]string{"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity", "StorageFull"}, f.code)
}

// credentials are the codes of what is wrong with the credentials themselves.
var credentials = []string{
	"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AccountProblem",
	"ExpiredTokenException", "InvalidClientTokenId", "XAdminUserNotFound",
}

// absent are the codes of an object that is not there. A 404 may mean much else,
// such as an endpoint that is no store.
var absent = []string{"NoSuchKey", "NotFound"}

// meaning returns the error that a failure is for callers, and what to do.
// Permission is what the operation needs.
func (f *failure) meaning(l location, permission string) error {
	switch {
	case f.code == "NoSuchBucket":
		return fmt.Errorf("%w: there is no bucket %q; make it with: aws %ss3 mb s3://%s: %w", leat.ErrNotFound, l.bucket, l.endpointOption(), l.bucket, f)
	case f.code == "PermanentRedirect" || f.code == "AuthorizationHeaderMalformed" || f.code == "IllegalLocationConstraintException":
		return fmt.Errorf("the bucket is in another region; add ?region=REGION to the URL or set AWS_REGION: %w", f)
	case f.code == "InvalidObjectState":
		return fmt.Errorf("the object was moved to a storage class that cannot be read; restore it, and keep archives out of such lifecycle rules: %w", f)
	case f.full():
		return fmt.Errorf("%w in the store: raise its quota or free some: %w", leat.ErrFull, f)
	case f.code == "RequestTimeTooSkewed":
		return fmt.Errorf("the clock of this machine and that of the store differ; set it right: %w", f)
	case slices.Contains(credentials, f.code):
		return fmt.Errorf("%w: the store does not accept the credentials; give others (AWS_ACCESS_KEY_ID, AWS_PROFILE, ?profile=): %w", leat.ErrDenied, f)
	case f.status == http.StatusForbidden || f.status == http.StatusUnauthorized:
		return fmt.Errorf("%w: allow these credentials %s: %w", leat.ErrDenied, permission, f)
	case f.status == http.StatusNotFound && slices.Contains(absent, f.code):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, f)
	case f.status == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, f)
	}
	return f
}
