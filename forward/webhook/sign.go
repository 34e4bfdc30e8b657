package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leathq/leat"
)

// Headers of Standard Webhooks.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	secretPrefix    = "whsec_"
	signaturePrefix = "v1,"
	minSecretBytes  = 24
	maxSecretBytes  = 64
)

// A Secret is what a sender and a receiver share: 24 to 64 bytes. It shows
// itself to nobody but through Text.
type Secret struct{ key []byte }

// NewSecret returns a secret of 32 random bytes.
func NewSecret() Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return Secret{key}
}

// ParseSecret reads the text form: "whsec_" and Base64.
func ParseSecret(text string) (Secret, error) {
	coded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return Secret{}, &leat.InvalidError{Field: "secret", Limit: fmt.Sprintf("%q and the Base64 of %d to %d bytes", secretPrefix, minSecretBytes, maxSecretBytes)}
	}
	return Secret{key}, nil
}

// Text returns the text form, to be given to a receiver.
func (s Secret) Text() string { return secretPrefix + base64.StdEncoding.EncodeToString(s.key) }

// String and Format hide the secret.
func (s Secret) String() string { return secretPrefix + "[redacted]" }

// Format implements fmt.Formatter.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText hides the secret from encoders, and so from logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Secret) isZero() bool { return len(s.key) == 0 }

// signature returns what signs a request.
func (s Secret) signature(id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	_, _ = io.WriteString(mac, id+"."+timestamp+".")
	_, _ = mac.Write(body)
	return mac.Sum(nil)
}

// sign adds the headers of a request that is sent now.
func sign(h http.Header, secrets []Secret, id string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	signatures := make([]string, 0, len(secrets))
	for _, s := range secrets {
		signatures = append(signatures, signaturePrefix+base64.StdEncoding.EncodeToString(s.signature(id, timestamp, body)))
	}
	if len(signatures) > 0 {
		h.Set(HeaderSignature, strings.Join(signatures, " "))
	}
}

// ErrUnverified says that a request is not, or not certainly, from whom it should
// be. It is to be answered with 401.
var ErrUnverified = errors.New("webhook is not verified")

// DefaultWindow is how far the clocks of sender and receiver may be apart, the
// time on the way included, when Verifier.Window is 0.
const DefaultWindow = 5 * time.Minute

// A Verifier checks requests on behalf of a receiver. It is safe for concurrent
// use.
type Verifier struct {
	// Secrets are those of which one must have signed.
	Secrets []Secret

	// Window is how old a request may be, or how far in the future; DefaultWindow
	// when 0. Within it a request may come again: by a retry, or because somebody
	// who saw it sent it. Who must not do something twice remembers source and id
	// of the events for longer than that.
	Window time.Duration

	// MaxBytes is how large a body Receive reads; DefaultMaxBytes when 0.
	MaxBytes int64
}

// Verify checks a request with the default window.
func Verify(h http.Header, body []byte, secrets ...Secret) error {
	return Verifier{Secrets: secrets}.Verify(h, body, time.Now())
}

// Verify returns an error that wraps ErrUnverified unless one of the secrets has
// signed the body, and has done so about now. In binary mode the headers with
// the event's attributes are not signed but stand behind webhook-id: use Receive.
func (v Verifier) Verify(h http.Header, body []byte, now time.Time) error {
	id, timestamp, signatures := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	if len(v.Secrets) == 0 || slices.ContainsFunc(v.Secrets, Secret.isZero) {
		return fmt.Errorf("%w: the receiver has no secret", ErrUnverified)
	}
	for name, value := range map[string]string{HeaderID: id, HeaderTimestamp: timestamp, HeaderSignature: signatures} {
		if value == "" {
			return fmt.Errorf("%w: it has no header %s", ErrUnverified, name)
		}
	}
	if strings.Contains(id, ".") {
		// What is signed is "id.timestamp.body": it could be cut elsewhere.
		return fmt.Errorf("%w: %s has a full stop", ErrUnverified, HeaderID)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %s is not a number of seconds", ErrUnverified, HeaderTimestamp)
	}
	window := v.Window
	if window == 0 {
		window = DefaultWindow
	}
	// Times are compared, as their difference may be beyond a Duration.
	if at := time.Unix(seconds, 0); at.Before(now.Add(-window)) || at.After(now.Add(window)) {
		return fmt.Errorf("%w: it was signed more than %s away from the receiver's time", ErrUnverified, window)
	}
	// The body is gone through once for each secret, however many signatures a
	// stranger sends.
	good := make([][]byte, len(v.Secrets))
	for i, s := range v.Secrets {
		good[i] = s.signature(id, timestamp, body)
	}
	for text := range strings.FieldsSeq(signatures) {
		coded, ok := strings.CutPrefix(text, signaturePrefix)
		given, err := base64.StdEncoding.DecodeString(coded)
		if !ok || err != nil {
			continue // of another version
		}
		for _, g := range good {
			if hmac.Equal(given, g) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: none of the receiver's secrets has signed it", ErrUnverified)
}
