package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leathq/leat/examples/shop/web"
	"golang.org/x/time/rate"
)

// KeyHeader is the header of the caller's API key.
const KeyHeader = "X-API-Key"

// A Config says whom a gateway lets in, and where it hands requests.
type Config struct {
	// Keys are the API keys. Each has a rate of its own.
	Keys []string

	// Services maps the first segment of a path to the URLs of that service's
	// workers, such as "orders" to "http://127.0.0.1:20001".
	Services map[string][]string

	Rate  float64 // requests a second with one key; no limit when 0
	Burst int     // that may come at once; at least 1

	// Patience is how long a worker may take to begin its answer before the next
	// one is asked; 5 s when 0.
	Patience time.Duration

	Logger *slog.Logger
}

// A Gateway is an http.Handler.
type Gateway struct {
	callers []caller
	pools   map[string]*httputil.ReverseProxy
	health  *web.Mux
}

// A caller is who has a key. The key itself is not kept.
type caller struct {
	digest [sha256.Size]byte
	limit  *rate.Limiter
}

// New returns a gateway.
func New(c Config) (*Gateway, error) {
	g := &Gateway{pools: make(map[string]*httputil.ReverseProxy), health: web.NewMux(c.Logger)}
	limit := rate.Limit(c.Rate)
	if c.Rate == 0 {
		limit = rate.Inf
	}
	for _, k := range c.Keys {
		g.callers = append(g.callers, caller{sha256.Sum256([]byte(k)), rate.NewLimiter(limit, max(1, c.Burst))})
	}
	for name, workers := range c.Services {
		p, err := newPool(workers, c.Patience, c.Logger)
		if err != nil {
			return nil, fmt.Errorf("gateway to %s: %w", name, err)
		}
		g.pools[name] = &httputil.ReverseProxy{
			Rewrite:   func(*httputil.ProxyRequest) {}, // pool rewrites it for each worker it asks
			Transport: p,
			ErrorLog:  slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if r.Context().Err() == nil {
					c.Logger.Warn("no worker answered", "service", name, "method", r.Method, "path", r.URL.Path, "error", err)
				}
				web.Fail(w, web.Refuse(http.StatusServiceUnavailable, fmt.Errorf("no worker of %s answered; give it again: %w", name, err)))
			},
		}
	}
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		g.health.ServeHTTP(w, r)
		return
	}
	proxy, err := g.admit(w, r)
	if err != nil {
		web.Fail(w, err)
		return
	}
	proxy.ServeHTTP(w, r)
}

// admit returns where a request goes, with its body read.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request) (*httputil.ReverseProxy, error) {
	caller := g.caller(r.Header.Get(KeyHeader))
	if caller == nil {
		p := web.Refuse(http.StatusUnauthorized, errors.New("the shop printed the key when it started"))
		p.Field, p.Limit = KeyHeader, "a key of this shop"
		return nil, p
	}
	if err := caller.admit(w); err != nil {
		return nil, err
	}
	segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	proxy, ok := g.pools[segment]
	if !ok {
		return nil, web.NoRoute(r)
	}
	body, err := web.ReadBody(w, r)
	if err != nil {
		return nil, err
	}
	r.Header.Del(KeyHeader) // it is the gateway's business alone
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	return proxy, nil
}

// caller returns who has a key. It takes as long for a wrong key as for a right
// one.
func (g *Gateway) caller(key string) (found *caller) {
	digest := sha256.Sum256([]byte(key))
	for i := range g.callers {
		if subtle.ConstantTimeCompare(digest[:], g.callers[i].digest[:]) == 1 {
			found = &g.callers[i]
		}
	}
	return found
}

// admit counts a request against the caller's rate.
func (c *caller) admit(w http.ResponseWriter) error {
	turn := c.limit.Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	turn.Cancel()
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	p := web.Refuse(http.StatusTooManyRequests, errors.New("this key asks for too much at once"))
	p.Field, p.Limit = KeyHeader, fmt.Sprintf("%g requests/s, %d at once", float64(c.limit.Limit()), c.limit.Burst())
	return p
}

func parseAll(urls []string) ([]*url.URL, error) {
	if len(urls) == 0 {
		return nil, errors.New("a service needs a worker")
	}
	all := make([]*url.URL, len(urls))
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		if u.Scheme != "http" || u.Host == "" {
			return nil, fmt.Errorf("worker %q: want http://HOST:PORT", text)
		}
		all[i] = u
	}
	return all, nil
}
