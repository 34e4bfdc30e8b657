package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

// A Mode says how events are put into requests.
type Mode int

// The modes of CloudEvents over HTTP.
const (
	Structured Mode = iota // one event, all of it in the body, as JSON
	Binary                 // one event, its data the body, its attributes in headers
	Batch                  // many events in the body, as JSON
)

const (
	defaultTimeout = 15 * time.Second
	defaultEvents  = 200
	batchBytes     = 1 << 20
)

// A Config says where events are sent and how. URL is needed.
type Config struct {
	// URL is the endpoint: http or https. As it may be a secret, only its host is
	// told in errors.
	URL string

	Mode Mode

	// Secrets sign the requests, each by itself, so that a receiver may know any
	// of them: to change one, add the new one here, then there, and remove the
	// old one. None: requests are not signed.
	Secrets []Secret

	// Header is added to each request, for what identifies the sender, such as
	// Authorization. Its values are kept out of errors.
	Header http.Header

	// Timeout is how long an answer may take; 15 s when 0.
	Timeout time.Duration

	// Events is how many events a batch has at most; 200 when 0. It has 1 MiB of
	// them at most.
	Events int

	// Transport is what requests go through; one like http.DefaultTransport when
	// nil.
	Transport http.RoundTripper
}

// A Destination is an HTTP endpoint that events are forwarded to. It is safe for
// concurrent use. Make one with New.
type Destination struct {
	config Config
	url    *url.URL
	client *http.Client
	now    func() time.Time
}

var _ service.Destination = (*Destination)(nil)

// New returns a destination, or a [*leat.InvalidError]. It sends nothing yet.
func New(c Config) (*Destination, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, &leat.InvalidError{Field: "Config.URL", Limit: "an http or https URL with a host"}
	case u.User != nil:
		return nil, &leat.InvalidError{Field: "Config.URL", Limit: "without a user and password: use Config.Header"}
	case c.Mode < Structured || c.Mode > Batch:
		return nil, &leat.InvalidError{Field: "Config.Mode", Limit: "Structured, Binary or Batch", Got: strconv.Itoa(int(c.Mode))}
	case c.Timeout < 0 || c.Events < 0:
		return nil, &leat.InvalidError{Field: "Config.Timeout and Config.Events", Limit: "not negative"}
	case slices.ContainsFunc(c.Secrets, Secret.isZero):
		return nil, &leat.InvalidError{Field: "Config.Secrets", Limit: "made with NewSecret or ParseSecret"}
	}
	for name := range c.Header {
		key := strings.ToLower(name)
		if strings.HasPrefix(key, "ce-") || strings.HasPrefix(key, "webhook-") || key == "content-type" {
			return nil, &leat.InvalidError{Field: "Config.Header", Limit: "none of ce-*, webhook-* and content-type, which are the destination's", Got: textproto.CanonicalMIMEHeaderKey(name)}
		}
	}
	c.Timeout, c.Events = cmp.Or(c.Timeout, defaultTimeout), cmp.Or(c.Events, defaultEvents)
	c.Secrets, c.Header = slices.Clone(c.Secrets), c.Header.Clone()
	if c.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 2 * service.DefaultParallel
		c.Transport = t
	}
	return &Destination{
		config: c, url: u, now: time.Now,
		client: &http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close closes connections that are not in use. The destination may be used
// again.
func (d *Destination) Close() error {
	d.client.CloseIdleConnections()
	return nil
}

// Check implements [service.Destination]. It sends nothing.
func (d *Destination) Check(context.Context, leat.Info) error { return nil }

// Bounds implements [service.Destination].
func (d *Destination) Bounds() service.Bounds {
	if d.config.Mode == Batch {
		return service.Bounds{Events: d.config.Events, Bytes: batchBytes}
	}
	return service.Bounds{Events: 1}
}

// Send implements [service.Destination].
func (d *Destination) Send(ctx context.Context, del service.Delivery) error {
	m := encode(d.config.Mode, del)
	header := d.config.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for name, value := range m.header {
		header[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
	}
	sign(header, d.config.Secrets, m.id, d.now(), m.body)

	within, cancel := context.WithTimeout(ctx, d.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(within, http.MethodPost, d.url.String(), bytes.NewReader(m.body))
	if err != nil {
		return service.Permanent(d.failed(err))
	}
	request.Header = header
	response, err := d.client.Do(request)
	if err != nil {
		return d.unanswered(ctx, err)
	}
	defer response.Body.Close()
	return d.answered(response)
}

// unanswered returns what it means that there was no answer.
func (d *Destination) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", d.config.Timeout)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: %w", d.failed(err), leat.ErrUnavailable)
	}
	return d.failed(err)
}

// failed says where it failed, and no more of the URL than it may.
func (d *Destination) failed(err error) error {
	return fmt.Errorf("post to %s://%s: %w", d.url.Scheme, d.url.Host, err)
}

const (
	quoted       = 300      // bytes of an answer's body that are told
	drained      = 64 << 10 // bytes of it that are read, so that the connection can be used again
	maxRetryWait = time.Hour
)

// answered returns what an answer means.
func (d *Destination) answered(r *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(r.Body, drained))
	if r.StatusCode >= 200 && r.StatusCode < 300 {
		return nil
	}
	err := d.failed(&StatusError{Status: r.StatusCode, Body: d.quote(body), Location: d.redirection(r)})
	switch s := r.StatusCode; {
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return service.RetryAfter(fmt.Errorf("%w: %w", err, leat.ErrUnavailable), d.retryAfter(r))
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooEarly:
		return service.RetryAfter(err, d.retryAfter(r))
	case s < 400, slices.Contains(ofEndpoint, s):
		return err
	}
	return service.Permanent(err)
}

// ofEndpoint are the answers that say something of the endpoint rather than of
// an event. If they were taken for good, a mistake in a URL or an expired token
// would park all there is.
var ofEndpoint = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusProxyAuthRequired, http.StatusGone,
}

// A StatusError is an answer that is not 2xx.
type StatusError struct {
	Status   int
	Body     string // the beginning of the answer's body
	Location string // host that a redirection names
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("the endpoint answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Location != "" {
		s += fmt.Sprintf(" to %s, and redirections are not followed", e.Location)
	}
	if e.Body != "" {
		s += fmt.Sprintf(": %q", e.Body)
	}
	return s
}

func (d *Destination) redirection(r *http.Response) string {
	if to, err := r.Location(); err == nil && r.StatusCode < 400 {
		return to.Scheme + "://" + to.Host
	}
	return ""
}

// quote returns the beginning of an answer, without what must not be told: an
// endpoint may show what it was sent.
func (d *Destination) quote(body []byte) string {
	s := string(body)
	for _, values := range d.config.Header {
		for _, v := range values {
			s = redact(s, v)
			if _, token, ok := strings.Cut(v, " "); ok {
				s = redact(s, token)
			}
		}
	}
	for _, secret := range d.config.Secrets {
		s = redact(s, strings.TrimPrefix(secret.Text(), secretPrefix))
	}
	if d.url.RawQuery != "" {
		s = redact(s, d.url.RawQuery)
	}
	s = redact(s, d.url.Path)
	if len(s) > quoted {
		s = strings.ToValidUTF8(s[:quoted], "") + "…"
	}
	return strings.TrimSpace(s)
}

func redact(s, secret string) string {
	if len(secret) < 4 { // too short to be one
		return s
	}
	return strings.ReplaceAll(s, secret, "[redacted]")
}

// retryAfter returns how long the endpoint asks to wait.
func (d *Destination) retryAfter(r *http.Response) time.Duration {
	text := r.Header.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryWait/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(d.now())
	}
	return min(max(wait, 0), maxRetryWait)
}
