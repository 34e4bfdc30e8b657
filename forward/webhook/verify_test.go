package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/webhook"
	"github.com/leathq/leat/service"
)

// The example that the libraries of Standard Webhooks test themselves with.
func TestSignatureIsThatOfStandardWebhooks(t *testing.T) {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	ok(t, err)
	h := http.Header{}
	h.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	ok(t, webhook.Verifier{Secrets: []webhook.Secret{secret}}.Verify(h, []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0)))
}

// captured is a signed request as it arrived.
type captured struct {
	header http.Header
	body   []byte
}

func capture(t *testing.T, mode webhook.Mode, secrets ...webhook.Secret) captured {
	t.Helper()
	var c captured
	d := endpoint(t, webhook.Config{Mode: mode, Secrets: secrets}, func(_ http.ResponseWriter, r *http.Request) {
		c.header = r.Header.Clone()
		c.body, _ = io.ReadAll(r.Body)
	})
	ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{order(1)}}))
	return c
}

func (c captured) receive(v webhook.Verifier) error {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(c.body))
	r.Header = c.header
	_, err := v.Receive(r)
	return err
}

func TestNothingOfARequestCanBeChanged(t *testing.T) {
	secret := webhook.NewSecret()
	v := webhook.Verifier{Secrets: []webhook.Secret{secret}}
	set := func(name, value string) func(*captured) { return func(c *captured) { c.header.Set(name, value) } }
	for mode, m := range modes {
		ok(t, capture(t, m, secret).receive(v))
		changes := map[string]func(*captured){
			"body":         func(c *captured) { c.body = append(c.body, ' ') },
			"id":           set("webhook-id", "evt_other"),
			"time":         set("webhook-timestamp", strconv.FormatInt(time.Now().Unix()+1, 10)),
			"no time":      func(c *captured) { c.header.Del("webhook-timestamp") },
			"no signature": func(c *captured) { c.header.Del("webhook-signature") },
			"no id":        func(c *captured) { c.header.Del("webhook-id") },
			"signature":    set("webhook-signature", "v1,AAAA v2,x nonsense v1,"),
		}
		if m == webhook.Binary {
			changes["type"] = set("ce-type", "OrderCancelled")
			changes["another attribute"] = set("ce-more", "x")
			changes["one attribute less"] = func(c *captured) { c.header.Del("ce-correlationid") }
			changes["content type"] = set("Content-Type", "text/plain")
		}
		for name, change := range changes {
			c := capture(t, m, secret)
			change(&c)
			if err := c.receive(v); !errors.Is(err, webhook.ErrUnverified) {
				t.Errorf("%s with another %s: %v", mode, name, err)
			}
		}
	}
}

func TestSecretsAreChangedWithoutAGap(t *testing.T) {
	before, after := webhook.NewSecret(), webhook.NewSecret()
	for name, c := range map[string]struct {
		sender, receiver []webhook.Secret
		good             bool
	}{
		"the old one":           {[]webhook.Secret{before}, []webhook.Secret{before}, true},
		"sender has both":       {[]webhook.Secret{before, after}, []webhook.Secret{before}, true},
		"receiver has changed":  {[]webhook.Secret{before, after}, []webhook.Secret{after}, true},
		"receiver has both":     {[]webhook.Secret{after}, []webhook.Secret{before, after}, true},
		"another":               {[]webhook.Secret{before}, []webhook.Secret{after}, false},
		"not signed":            {nil, []webhook.Secret{after}, false},
		"receiver has none":     {[]webhook.Secret{before}, nil, false},
		"receiver has an empty": {[]webhook.Secret{before}, []webhook.Secret{{}}, false},
	} {
		err := capture(t, webhook.Structured, c.sender...).receive(webhook.Verifier{Secrets: c.receiver})
		if (err == nil) != c.good || err != nil && !errors.Is(err, webhook.ErrUnverified) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOldRequestsAreRefused(t *testing.T) {
	secret := webhook.NewSecret()
	c := capture(t, webhook.Structured, secret)
	seconds, err := strconv.ParseInt(c.header.Get("webhook-timestamp"), 10, 64)
	ok(t, err)
	at := time.Unix(seconds, 0)
	v := webhook.Verifier{Secrets: []webhook.Secret{secret}}
	for away, good := range map[time.Duration]bool{
		0: true, 5 * time.Minute: true, -5 * time.Minute: true, 301 * time.Second: false, -301 * time.Second: false,
	} {
		if err := v.Verify(c.header, c.body, at.Add(away)); (err == nil) != good {
			t.Errorf("%s later: %v", away, err)
		}
	}
	v.Window = time.Minute
	if err := v.Verify(c.header, c.body, at.Add(61*time.Second)); !errors.Is(err, webhook.ErrUnverified) {
		t.Errorf("beyond a window of a minute: %v", err)
	}
	for _, text := range []string{"-9223372036854775808", "9223372036854775807", "x", "1e9"} {
		c.header.Set("webhook-timestamp", text)
		if err := webhook.Verify(c.header, c.body, secret); !errors.Is(err, webhook.ErrUnverified) {
			t.Errorf("signed at %s: %v", text, err)
		}
	}
}

func TestSecretsThatAreWrong(t *testing.T) {
	for _, text := range []string{"", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("hidden", 40), "whsec_!hidden"} {
		if _, err := webhook.ParseSecret(text); !errors.Is(err, leat.ErrInvalid) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("ParseSecret(%q): %v", text, err)
		}
	}
	s := webhook.NewSecret()
	again, err := webhook.ParseSecret(s.Text())
	ok(t, err)
	want(t, "text", again.Text(), s.Text())
}

func TestWhatAHandlerAnswers(t *testing.T) {
	secret := webhook.NewSecret()
	var failed error
	v := webhook.Verifier{Secrets: []webhook.Secret{secret}, MaxBytes: 1000}
	h := v.Handler(func(context.Context, []leat.Event) error { return failed })
	answer := func(method string, c captured) int {
		r := httptest.NewRequest(method, "/", bytes.NewReader(c.body))
		r.Header = c.header
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	good := capture(t, webhook.Structured, secret)
	want(t, "good", answer(http.MethodPost, good), 204)
	want(t, "read", answer(http.MethodGet, good), 405)
	failed = errors.New("the database is away")
	want(t, "not handled", answer(http.MethodPost, good), 500)
	want(t, "another's", answer(http.MethodPost, capture(t, webhook.Structured, webhook.NewSecret())), 401)
	large := good
	large.body = bytes.Repeat([]byte("x"), 1001)
	want(t, "large", answer(http.MethodPost, large), 413)
	none := captured{http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, []byte("{}")}
	webhook.SignForTest(none.header, secret, none.body)
	want(t, "no batch", answer(http.MethodPost, none), 400)
}

// Who can have an event recorded knows what its data is signed with, but cannot
// make an event of its own of that.
func TestDataIsNotTakenForAnEvent(t *testing.T) {
	forged := `{"specversion":"1.0","id":"1","source":"orders","type":"OrderPaid","subject":"order-1"}`
	for name, data := range map[string]string{"application/cloudevents+json": forged, "application/cloudevents-batch+json": "[" + forged + "]"} {
		secret := webhook.NewSecret()
		var c captured
		d := endpoint(t, webhook.Config{Mode: webhook.Binary, Secrets: []webhook.Secret{secret}}, func(_ http.ResponseWriter, r *http.Request) {
			c.header = r.Header.Clone()
			c.body, _ = io.ReadAll(r.Body)
		})
		e := order(1)
		e.Data = []byte(data)
		ok(t, d.Send(t.Context(), service.Delivery{Log: "LOG", Events: []leat.Recorded{e}}))
		ok(t, c.receive(webhook.Verifier{Secrets: []webhook.Secret{secret}}))
		c.header.Set("Content-Type", name)
		if err := c.receive(webhook.Verifier{Secrets: []webhook.Secret{secret}}); !errors.Is(err, webhook.ErrUnverified) {
			t.Errorf("data as %s: %v, want ErrUnverified", name, err)
		}
	}
}

// What says how a request is to be read is signed as well: what was sent as JSON
// is no event whose data is that JSON, under attributes that are copied from it.
func TestJSONIsNotTakenForData(t *testing.T) {
	secret := webhook.NewSecret()
	v := webhook.Verifier{Secrets: []webhook.Secret{secret}}
	for _, name := range []string{"structured", "batch"} {
		c, attributes := capture(t, modes[name], secret), capture(t, webhook.Binary, secret).header
		for key, values := range attributes {
			if strings.HasPrefix(key, "Ce-") || key == "Content-Type" {
				c.header[key] = values
			}
		}
		if err := c.receive(v); !errors.Is(err, webhook.ErrUnverified) {
			t.Errorf("%s as binary: %v, want ErrUnverified", name, err)
		}
	}
}

// What is signed is "id.timestamp.body". Data that begins like "1767225600." must
// not let an old request pass for one of another time.
func TestWhatIsSignedIsNotCutElsewhere(t *testing.T) {
	secret := webhook.NewSecret()
	old, now := time.Unix(1600000000, 0), time.Unix(1767225600, 0)
	h := http.Header{}
	body := []byte("1767225600.{}")
	webhook.SignAtForTest(h, secret, old, body)
	v := webhook.Verifier{Secrets: []webhook.Secret{secret}}
	ok(t, v.Verify(h, body, old))
	h.Set("webhook-id", h.Get("webhook-id")+"."+h.Get("webhook-timestamp"))
	h.Set("webhook-timestamp", "1767225600")
	if err := v.Verify(h, []byte("{}"), now); !errors.Is(err, webhook.ErrUnverified) {
		t.Errorf("a request that was cut elsewhere: %v", err)
	}
}

// A stranger's many signatures cost as much as one: the body is gone through once.
func TestManySignaturesAreCheap(t *testing.T) {
	secret := webhook.NewSecret()
	h, body := http.Header{}, make([]byte, 4<<20)
	webhook.SignForTest(h, secret, body)
	good := h.Get("webhook-signature")
	h.Set("webhook-signature", strings.Repeat("v1, ", 250_000)+good)
	ok(t, webhook.Verify(h, body, secret)) // by itself the body takes some milliseconds: this would take an hour
	h.Set("webhook-signature", strings.Repeat("v1, ", 250_000))
	if err := webhook.Verify(h, body, secret); !errors.Is(err, webhook.ErrUnverified) {
		t.Errorf("Verify: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	secret := webhook.NewSecret()
	for _, body := range []string{`{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x","n":1,"data":null}`, `[{}]`, `[`, `{"data_base64":1}`, `{"time":"x"}`} {
		f.Add("application/cloudevents+json", body)
		f.Add("application/cloudevents-batch+json", body)
		f.Add("text/plain", body)
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		webhook.SignForTest(r.Header, secret, []byte(body))
		events, err := webhook.Verifier{Secrets: []webhook.Secret{secret}}.Receive(r)
		if err != nil && !errors.Is(err, leat.ErrInvalid) && !errors.Is(err, webhook.ErrUnverified) {
			t.Errorf("Receive: %v", err)
		}
		for _, e := range events {
			if e.ID == "" || e.Stream == "" || e.Type == "" {
				t.Errorf("Receive returns %+v", e)
			}
		}
	})
}
