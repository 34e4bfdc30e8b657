package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/leathq/leat/examples/shop/web"
)

const (
	defaultPatience = 5 * time.Second
	dialTimeout     = time.Second
	// shunned is how long a worker that did not answer is asked only when there
	// is no other.
	shunned = 500 * time.Millisecond
)

// A pool is an http.RoundTripper to whichever worker of a service is alive: in
// turn, and to the next when one does not answer.
type pool struct {
	workers   []*worker
	next      atomic.Uint64
	transport *http.Transport
	logger    *slog.Logger
}

type worker struct {
	url    *url.URL
	absent atomic.Int64 // nanoseconds since 1970 until which it is shunned
}

func newPool(urls []string, patience time.Duration, logger *slog.Logger) (*pool, error) {
	parsed, err := parseAll(urls)
	if err != nil {
		return nil, err
	}
	p := &pool{logger: logger, transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ResponseHeaderTimeout: cmp.Or(patience, defaultPatience),
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
	}}
	for _, u := range parsed {
		p.workers = append(p.workers, &worker{url: u})
	}
	return p, nil
}

// RoundTrip implements http.RoundTripper. It asks each worker at most once, and
// after one that may have carried the request out only if that does no harm.
func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	var failed error
	for _, w := range p.order() {
		response, err := p.ask(w, r)
		if err == nil {
			return response, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", w.url.Host, err))
		if r.Context().Err() != nil {
			break
		}
		w.absent.Store(time.Now().Add(shunned).UnixNano())
		if !unasked(err) && !repeatable(r) {
			break
		}
	}
	return nil, failed
}

// ask gives a request to a worker.
func (p *pool) ask(w *worker, r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Body = http.NoBody
	if r.ContentLength > 0 {
		var err error
		if out.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	out.URL.Scheme, out.URL.Host, out.Host = w.url.Scheme, w.url.Host, w.url.Host
	return p.transport.RoundTrip(out)
}

// order returns the workers, beginning with the one whose turn it is; those that
// are shunned come last.
func (p *pool) order() []*worker {
	n := len(p.workers)
	first := int(p.next.Add(1) % uint64(n))
	now := time.Now().UnixNano()
	present := make([]*worker, 0, n)
	var absent []*worker
	for i := range n {
		w := p.workers[(first+i)%n]
		if w.absent.Load() > now {
			absent = append(absent, w)
			continue
		}
		present = append(present, w)
	}
	return append(present, absent...)
}

// unasked reports whether a worker never saw the request.
func unasked(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// repeatable reports whether to carry a request out again changes nothing more.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	}
	return r.Header.Get(web.KeyHeader) != ""
}
