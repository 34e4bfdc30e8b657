package s3

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// writerKey is where the metadata of an object hold the token of the Create that
// wrote it.
const writerKey = "leat-writer"

// maxCalls is how many requests are under way at a time, of one Store.
const maxCalls = 64

// A Store is an [archive.Store] in a bucket. It is safe for concurrent use.
type Store struct {
	location
	client *s3.Client
	limits Limits
	calls  chan struct{} // holds a token for each request that is under way
	denied error         // why nothing can be created; nil when it can

	requests, failed atomic.Uint64
}

var _ archive.Store = (*Store)(nil)

// String returns the URL of the store, with the endpoint if it has one.
func (s *Store) String() string {
	if s.endpoint == "" {
		return s.url(s.prefix)
	}
	return s.url(s.prefix) + "?endpoint=" + s.endpoint
}

// Stats count what a Store has done since it was opened.
type Stats struct {
	Requests uint64 // attempts, of which one call may need several
	Failed   uint64 // attempts that failed and were, as a rule, repeated
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats { return Stats{s.requests.Load(), s.failed.Load()} }

// try attempts something that moves n bytes until it succeeds, until trying
// again cannot mend it, or as often as the limits say.
func (s *Store) try(ctx context.Context, permission string, n int64, f func(context.Context, *watch) error) error {
	for attempt := 1; ; attempt++ {
		err := s.attempt(ctx, n, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failure := asFailure(err)
		if !failure.again() {
			return failure.meaning(s.location, permission)
		}
		s.failed.Add(1)
		if attempt >= s.limits.Attempts {
			return fmt.Errorf("gave up after %d attempts: %w", attempt, failure.meaning(s.location, permission))
		}
		if err := s.limits.pause(ctx, attempt); err != nil {
			return fmt.Errorf("%w, after: %w", err, failure)
		}
	}
}

// attempt waits for its turn and does one attempt.
func (s *Store) attempt(ctx context.Context, n int64, f func(context.Context, *watch) error) error {
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.requests.Add(1)
	return s.limits.watched(ctx, n, f)
}

// key returns the key of an object, and its URL for messages.
func (s *Store) key(name string) (key, url string, err error) {
	if err := archive.CheckName(name); err != nil {
		return "", "", err
	}
	return s.prefix + name, s.url(s.prefix + name), nil
}

// Create implements [archive.Store].
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	key, url, err := s.key(name)
	if err != nil {
		return err
	}
	if s.denied != nil {
		return fmt.Errorf("create object %s: %w", url, s.denied)
	}
	if err := s.create(ctx, key, data); err != nil {
		return fmt.Errorf("create object %s: %w", url, err)
	}
	return nil
}

func (s *Store) create(ctx context.Context, key string, data []byte) error {
	sum := sha256.Sum256(data)
	token := rand.Text()
	exists := false
	err := s.try(ctx, "s3:PutObject and s3:GetObject on it", int64(len(data)), func(ctx context.Context, _ *watch) error {
		err := s.put(ctx, key, data, sum, token)
		if err == nil || asFailure(err).status != http.StatusPreconditionFailed {
			return err
		}
		// It may have been created by an attempt of ours whose answer was lost.
		writer, err := s.writer(ctx, key)
		if err == nil {
			exists = writer != token
		}
		return err
	})
	if err == nil && exists {
		return fs.ErrExist
	}
	return err
}

func (s *Store) put(ctx context.Context, key string, data []byte, sum [sha256.Size]byte, token string) error {
	body := &body{data: data}
	defer body.end()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket:         aws.String(s.bucket),
		Key:            aws.String(key),
		Body:           body,
		ContentLength:  aws.Int64(int64(len(data))),
		IfNoneMatch:    aws.String("*"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		Metadata:       map[string]string{writerKey: token},
	})
	return err
}

// writer returns the token of the Create that wrote an object which the store
// says exists.
func (s *Store) writer(ctx context.Context, key string) (string, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
	if err != nil && asFailure(err).status == http.StatusNotFound {
		return "", errors.New("the store says that the object exists, and then that it does not")
	}
	if err != nil {
		return "", err
	}
	return out.Metadata[writerKey], nil
}

// Get implements [archive.Store].
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	key, url, err := s.key(name)
	if err != nil {
		return nil, err
	}
	var data []byte
	err = s.try(ctx, "s3:GetObject on it and s3:ListBucket", 0, func(ctx context.Context, w *watch) error {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
		if err != nil {
			return err
		}
		data, err = readBody(out, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get object %s: %w", url, err)
	}
	return data, nil
}

// GetRange implements [archive.Store].
func (s *Store) GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error) {
	key, url, err := s.key(name)
	if err != nil {
		return nil, err
	}
	if err := archive.CheckRange(offset, n); err != nil {
		return nil, err
	}
	data := []byte{}
	switch {
	case n == 0: // which a request cannot ask for
		err = s.reaches(ctx, name, offset)
	case n > maxObject-offset: // which some servers cannot read
		err = s.reaches(ctx, name, maxObject)
	default:
		err = s.try(ctx, "s3:GetObject on it and s3:ListBucket", 0, func(ctx context.Context, w *watch) error {
			data, err = s.getRange(ctx, w, key, offset, n)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("get %d bytes at %d of object %s: %w", n, offset, url, err)
	}
	return data, nil
}

func (s *Store) getRange(ctx context.Context, w *watch, key string, offset, n int64) ([]byte, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: aws.String(s.bucket),
		Key:    aws.String(key),
		Range:  aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)),
	}, func(o *s3.Options) {
		// What there is a checksum of is the whole object; some servers send it.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	if err != nil {
		return nil, err
	}
	var from int64
	if _, err := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-", &from); err != nil || from != offset {
		out.Body.Close()
		return nil, &finalError{fmt.Errorf("%w: asked for a range, the store answered with the range %q", leat.ErrUnsupported, aws.ToString(out.ContentRange))}
	}
	if length := aws.ToInt64(out.ContentLength); length < n {
		out.Body.Close()
		return nil, &finalError{fmt.Errorf("%w: it has %d there", io.ErrUnexpectedEOF, length)}
	}
	data, err := readBody(out, w)
	if err == nil && int64(len(data)) != n {
		err = fmt.Errorf("the store answered with %d bytes", len(data))
	}
	return data, err
}

// maxObject is more bytes than an object can have.
const maxObject = 1 << 50

// reaches returns [io.ErrUnexpectedEOF] when an object is smaller than an offset.
func (s *Store) reaches(ctx context.Context, name string, offset int64) error {
	size, err := s.Size(ctx, name)
	if err == nil && size < offset {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// maxGrow is how much room is made at once for what a store says it will send.
const maxGrow = 64 << 20

// readBody reads the bytes of an object, all that the store said it would send.
func readBody(out *s3.GetObjectOutput, w *watch) ([]byte, error) {
	defer out.Body.Close()
	n := aws.ToInt64(out.ContentLength)
	w.more(n)
	data := make([]byte, 0, min(max(n, 0)+1, maxGrow)) // one more, to see the end
	for {
		got, err := out.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+got]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
	if out.ContentLength != nil && int64(len(data)) != n {
		return nil, io.ErrUnexpectedEOF
	}
	return data, nil
}

// Size implements [archive.Store].
func (s *Store) Size(ctx context.Context, name string) (int64, error) {
	key, url, err := s.key(name)
	if err != nil {
		return 0, err
	}
	var size int64
	err = s.try(ctx, "s3:GetObject on it and s3:ListBucket", 0, func(ctx context.Context, _ *watch) error {
		out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
		if err != nil && asFailure(err).status == http.StatusNotFound {
			return s.confirm(ctx, key)
		}
		if err == nil {
			size = aws.ToInt64(out.ContentLength)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of object %s: %w", url, err)
	}
	return size, nil
}

// confirm returns why there is no object of a key. The answer to HEAD has no
// body that could say whether it is the object that is missing, or the bucket.
func (s *Store) confirm(ctx context.Context, key string) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key), Range: aws.String("bytes=0-0")})
	if err == nil {
		out.Body.Close()
	}
	if err == nil || asFailure(err).status == http.StatusRequestedRangeNotSatisfiable { // which has no byte 0
		return errors.New("the store says that the object does not exist, and then that it does")
	}
	return err
}

// Remove implements [archive.Store].
func (s *Store) Remove(ctx context.Context, name string) error {
	key, url, err := s.key(name)
	if err != nil {
		return err
	}
	err = s.try(ctx, "s3:DeleteObject on it", 0, func(ctx context.Context, _ *watch) error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key)})
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object %s: %w", url, err)
	}
	return nil
}
