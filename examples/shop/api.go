package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/leathq/leat/examples/shop/gateway"
	"github.com/leathq/leat/examples/shop/web"
)

// A request that was not answered is sent again after a pause, which doubles
// from the first to the longest, for so long in all.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
	patience     = 2 * time.Minute
	oneAttempt   = 20 * time.Second
)

// An api speaks to a process of the shop. It is safe for concurrent use.
type api struct {
	base   string // URL
	key    string // for the gateway
	client *http.Client
	again  atomic.Int64 // requests that were sent again
}

func newAPI(base, key string) *api {
	return &api{base: base, key: key, client: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 2 * driverWorkers,
	}}}
}

func (a *api) close() { a.client.CloseIdleConnections() }

// get asks until it is answered.
func (a *api) get(ctx context.Context, path string, into any) error {
	return a.insist(ctx, http.MethodGet, path, "", nil, into)
}

// command gives a command until it is carried out or refused. Its name keeps it
// from being carried out twice.
func (a *api) command(ctx context.Context, path, name string, command any) error {
	body, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("encode the command for %s: %w", path, err)
	}
	return a.insist(ctx, http.MethodPost, path, name, body, nil)
}

// insist sends a request until it is answered by anything but that it may be
// sent again.
func (a *api) insist(ctx context.Context, method, path, name string, body []byte, into any) error {
	began, pause := time.Now(), firstPause
	for {
		err := a.once(ctx, method, path, name, body, into)
		if err == nil || !passing(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > patience {
			return fmt.Errorf("given up after %s: %w", clock(time.Since(began)), err)
		}
		a.again.Add(1)
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// once sends a request.
func (a *api) once(ctx context.Context, method, path, name string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, oneAttempt)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(gateway.KeyHeader, a.key)
	if name != "" {
		r.Header.Set(web.KeyHeader, name)
	}
	response, err := a.client.Do(r)
	if err != nil {
		return &unanswered{err}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return &unanswered{fmt.Errorf("%s %s: %w", method, path, err)}
	}
	if response.StatusCode >= http.StatusBadRequest {
		return refusal(response, data)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// refusal is the problem that an answer holds.
func refusal(response *http.Response, data []byte) error {
	p := &web.Problem{}
	if err := json.Unmarshal(data, p); err != nil {
		p.Detail = string(data)
	}
	p.Status = response.StatusCode
	p.Title = cmp.Or(p.Title, http.StatusText(p.Status))
	return fmt.Errorf("%s %s: %w", response.Request.Method, response.Request.URL.Path, p)
}

// unanswered is the error of a request that may or may not have been carried
// out.
type unanswered struct{ err error }

func (u *unanswered) Error() string { return u.err.Error() }
func (u *unanswered) Unwrap() error { return u.err }

// wait waits, or returns the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// passing reports whether a request may succeed when it is sent again.
func passing(err error) bool {
	if _, ok := errors.AsType[*unanswered](err); ok {
		return true
	}
	p, ok := errors.AsType[*web.Problem](err)
	return ok && (p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout)
}
