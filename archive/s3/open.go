package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/leathq/leat"
)

const (
	// ownPrefix begins the names of what is the store's own. No log can be called
	// so: "~" is no part of a log's ID.
	ownPrefix = "~"

	probeName = ownPrefix + "probe"
	probeText = "Leat put this here, and tries to put it here again, to see whether this store honours If-None-Match.\n"

	// defaultRegion is where a bucket is looked for when nothing tells.
	defaultRegion = "us-east-1"
)

// Open opens the store that a URL names:
//
//	s3://BUCKET/PREFIX?region=eu-west-1&profile=backup
//	s3://BUCKET?endpoint=http://127.0.0.1:7080&path-style=true
//
// What the URL leaves out is taken from where AWS tools take it: the AWS_…
// variables, the shared files of configuration and credentials, the machine's
// role. Path style is the default when the URL names an endpoint.
//
// Open finds out whether the store honours If-None-Match by putting one object,
// "~probe" below the prefix, which then stays there. A store that does not is
// refused with [leat.ErrUnsupported]; without that, two servers could replace
// each other's objects. Where these credentials may not put that object the
// store is opened for reading, and Create returns [leat.ErrDenied].
//
// A bucket that is not there is [leat.ErrNotFound]; missing or refused
// credentials are [leat.ErrDenied].
func Open(ctx context.Context, url string, l Limits) (*Store, error) {
	s := &Store{limits: l.withDefaults(), calls: make(chan struct{}, maxCalls)}
	err := s.open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open archive store %s: %w", url, err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, url string) (err error) {
	if s.location, err = parseURL(url); err != nil {
		return err
	}
	if s.client, err = s.connect(ctx); err != nil {
		return err
	}
	if err := s.reach(ctx); err != nil {
		return err
	}
	return s.probe(ctx)
}

// connect returns a client with credentials.
func (s *Store) connect(ctx context.Context) (*s3.Client, error) {
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = maxCalls
		})),
	}
	if s.region != "" {
		options = append(options, config.WithRegion(s.region))
	}
	if s.profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.profile))
	}
	c, err := s.configure(ctx, options)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	return s3.NewFromConfig(c, func(o *s3.Options) {
		if s.endpoint != "" {
			o.BaseEndpoint = aws.String(s.endpoint)
		}
		o.UsePathStyle = s.pathStyle
		o.Retryer = aws.NopRetryer{} // see try
		// Checksums are in a header that every store understands, not behind the body.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// configure reads what AWS tools are configured with. That may ask other
// machines, which may not answer.
func (s *Store) configure(ctx context.Context, options []func(*config.LoadOptions) error) (c aws.Config, err error) {
	err = s.limits.watched(ctx, 0, func(ctx context.Context, _ *watch) (err error) {
		c, err = config.LoadDefaultConfig(ctx, options...)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("load the configuration of AWS tools: %w", err)
	}
	err = s.limits.watched(ctx, 0, func(ctx context.Context, _ *watch) error {
		_, err := c.Credentials.Retrieve(ctx)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("%w: no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or add ?profile=NAME to the URL: %w",
			leat.ErrDenied, err)
	}
	return c, nil
}

// reach finds out whether the bucket is there and may be listed.
func (s *Store) reach(ctx context.Context) error {
	return s.try(ctx, "s3:ListBucket on the bucket", 0, func(ctx context.Context, _ *watch) error {
		_, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix), MaxKeys: aws.Int32(1),
		})
		return err
	})
}

// probe finds out whether the store honours If-None-Match.
func (s *Store) probe(ctx context.Context) error {
	key := s.prefix + probeName
	for range 2 {
		existed, err := s.putProbe(ctx, key)
		var f *failure
		switch {
		case errors.Is(err, leat.ErrDenied):
			s.denied = fmt.Errorf("%w (found out with %s)", err, s.url(key))
			return nil
		case errors.As(err, &f) && (f.status == http.StatusNotImplemented || f.status == http.StatusBadRequest):
			return fmt.Errorf("%w: the store refuses If-None-Match, without which servers could replace each other's objects; use a store that honours it: %w",
				leat.ErrUnsupported, err)
		case err != nil:
			return fmt.Errorf("put %s to see whether the store honours If-None-Match: %w", s.url(key), err)
		case existed:
			return nil
		}
	}
	return fmt.Errorf("%w: the store ignores If-None-Match (it put %s twice), so servers could replace each other's objects; use a store that honours it",
		leat.ErrUnsupported, s.url(key))
}

// putProbe puts the probe and reports whether the store refused to because it is
// there. An attempt whose answer was lost may have put it: all the same.
func (s *Store) putProbe(ctx context.Context, key string) (existed bool, err error) {
	data := []byte(probeText)
	err = s.try(ctx, "s3:PutObject on all objects below the prefix", int64(len(data)), func(ctx context.Context, _ *watch) error {
		err := s.put(ctx, key, data, sha256.Sum256(data), "probe")
		if err != nil && asFailure(err).status == http.StatusPreconditionFailed {
			existed = true
			return nil
		}
		return err
	})
	return existed, err
}
