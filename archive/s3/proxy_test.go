package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A fault is what happens to one request.
type fault string

const (
	fine        fault = "fine"
	slowDown    fault = "503 before"                        // the store did nothing
	failedAfter fault = "500 after"                         // the store did as asked, and then says that it failed
	conflict    fault = "409"                               // the store did nothing; it is busy with that object
	falseExists fault = "412 of what may not exist"         // the store did nothing
	cutBefore   fault = "cut before"                        // the connection ends, the store did nothing
	cutAfter    fault = "cut after"                         // the store did as asked, the connection ends without an answer
	cutInside   fault = "cut inside the answer"             // the connection ends halfway in the answer
	stallBefore fault = "stalls before"                     // no answer, the store did nothing
	stallAfter  fault = "stalls after"                      // no answer, the store did as asked
	stallInside fault = "stalls inside the answer"          // no end of the answer
	late        fault = "done when the client has given up" // and has perhaps sent it again
)

// faults are all that can happen; those of creating are only tried on PUTs.
var (
	faults         = []fault{slowDown, failedAfter, cutBefore, cutAfter, cutInside, stallBefore, stallAfter, stallInside, late}
	createFaults   = append([]fault{conflict, falseExists}, faults...)
	stallingFaults = map[fault]bool{stallBefore: true, stallAfter: true, stallInside: true, late: true}
)

// A proxy stands in front of a store and makes requests fail.
type proxy struct {
	next http.Handler
	plan func(*http.Request) fault // safe for concurrent use
	late sync.WaitGroup
}

// serveFaults serves a store with faults and returns its URL.
func serveFaults(t testing.TB, next http.Handler, plan func(*http.Request) fault) string {
	p := &proxy{next: next, plan: plan}
	t.Cleanup(p.late.Wait)
	return serve(t, p)
}

// ServeHTTP implements [http.Handler].
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.plan(r)
	body, err := io.ReadAll(r.Body)
	if err != nil { // the client has gone
		panic(http.ErrAbortHandler)
	}
	done := r.Context().Done() // when the client has given up
	switch fault {
	case slowDown:
		answer(w, http.StatusServiceUnavailable, "SlowDown")
	case conflict:
		answer(w, http.StatusConflict, "ConditionalRequestConflict")
	case falseExists:
		answer(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case failedAfter:
		p.act(r, body)
		answer(w, http.StatusInternalServerError, "InternalError")
	case cutBefore:
		panic(http.ErrAbortHandler)
	case cutAfter:
		p.act(r, body)
		panic(http.ErrAbortHandler)
	case stallBefore:
		<-done
	case stallAfter:
		p.act(r, body)
		<-done
	case cutInside:
		send(w, p.act(r, body), 2)
		panic(http.ErrAbortHandler)
	case stallInside:
		// An answer without a body has no inside.
		if answer := p.act(r, body); answer.Body.Len() > 0 && r.Method != http.MethodHead {
			send(w, answer, 2)
		}
		<-done
	case late:
		<-done
		p.late.Go(func() { p.act(r, body) })
	default:
		send(w, p.act(r, body), 1)
	}
}

// act lets the store do as asked.
func (p *proxy) act(r *http.Request, body []byte) *httptest.ResponseRecorder {
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	p.next.ServeHTTP(answer, r)
	return answer
}

// send sends an answer, or of its body only the n-th part.
func send(w http.ResponseWriter, answer *httptest.ResponseRecorder, n int) {
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
	}
	w.WriteHeader(answer.Code)
	_, err := w.Write(answer.Body.Bytes()[:answer.Body.Len()/n])
	if f, ok := w.(http.Flusher); ok && err == nil && n > 1 {
		f.Flush()
	}
}

// answer sends an error as S3 does.
func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>as the test wants it</Message></Error>`, code)
}

// script lets the given faults happen to one request each, and none after.
type script struct {
	mu     sync.Mutex
	faults []fault
}

func (s *script) arm(faults ...fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

func (s *script) plan(r *http.Request) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return fine
	}
	f := s.faults[0]
	if (f == conflict || f == falseExists) && r.Method != http.MethodPut {
		return fine
	}
	s.faults = s.faults[1:]
	return f
}

// chance makes one in n requests fail, and one in ten of these stall, which
// takes time.
type chance struct {
	mu  sync.Mutex
	rng *rand.Rand
	n   int // 0: none
}

func (c *chance) set(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = n
}

func (c *chance) plan(r *http.Request) fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 || c.rng.IntN(c.n) > 0 {
		return fine
	}
	of := faults
	if r.Method == http.MethodPut {
		of = createFaults
	}
	f := of[c.rng.IntN(len(of))]
	if stallingFaults[f] && c.rng.IntN(10) > 0 {
		return fine
	}
	return f
}
