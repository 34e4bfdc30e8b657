package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/s3"
)

func TestURLs(t *testing.T) {
	for _, url := range []string{
		"s3://", "s3:///prefix", "s3://key:secret@bucket", "s3://bucket:80/x", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket#x",
		"s3://bucket?regoin=eu-west-1", "s3://bucket?region=", "s3://bucket?region=a&region=b", "s3://bucket?path-style=perhaps",
		"s3://bucket?endpoint=127.0.0.1:7070", "s3://bucket?endpoint=ftp://x", "s3://bucket?region=%zz", "http://bucket", "bucket",
		"s3://logs--euw1-az1--x-s3/x",
	} {
		if _, err := s3.Open(t.Context(), url, impatient); !errors.Is(err, leat.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", url, err)
		}
	}
}

// Every prefix is a store of its own.
func TestPrefixes(t *testing.T) {
	base, query, _ := strings.Cut(serve(t, fake(t)), "?")
	base = strings.TrimSuffix(base, "some/prefix")
	var stores []archive.Store
	for i, prefix := range []string{"", "a", "a/b/", "größe und +"} {
		store := open(t, base+strings.ReplaceAll(prefix, " ", "%20")+"?"+query, impatient)
		stores = append(stores, store)
		if err := store.Create(t.Context(), "log/x", []byte{byte(i)}); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	for i, store := range stores {
		if data, err := store.Get(t.Context(), "log/x"); err != nil || data[0] != byte(i) {
			t.Errorf("store %d: %v, %v", i, data, err)
		}
	}
}

// A store that does not honour If-None-Match is refused, one that does keeps one
// small object of the probe.
func TestProbe(t *testing.T) {
	t.Run("ignored", func(t *testing.T) {
		inner := fake(t)
		url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-None-Match")
			inner.ServeHTTP(w, r)
		}))
		for range 2 { // the first time nothing is there
			_, err := s3.Open(t.Context(), url, impatient)
			if !errors.Is(err, leat.ErrUnsupported) || !strings.Contains(err.Error(), "ignores If-None-Match") {
				t.Errorf("%v, want ErrUnsupported and why", err)
			}
		}
	})
	for _, status := range []int{http.StatusNotImplemented, http.StatusBadRequest} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inner := fake(t)
			_, err := s3.Open(t.Context(), serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					answer(w, status, "NotImplemented")
					return
				}
				inner.ServeHTTP(w, r)
			})), impatient)
			if !errors.Is(err, leat.ErrUnsupported) {
				t.Errorf("%v, want ErrUnsupported", err)
			}
		})
	}
	t.Run("honoured", func(t *testing.T) {
		var s script
		url := serveFaults(t, fake(t), s.plan)
		for _, f := range createFaults {
			if f != falseExists { // which would be taken for an answer
				s.arm(fine, f, f)
			}
			open(t, url, short)
		}
		var names []string
		for name, err := range open(t, strings.Replace(url, "/some/prefix", "/", 1), impatient).List(t.Context(), "some/prefix", "") {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		if want := []string{"~probe"}; !slices.Equal(names, want) {
			t.Errorf("what probing left: %q, want %q", names, want)
		}
	})
}

// Who may only read can open the store.
func TestReadOnly(t *testing.T) {
	inner := fake(t)
	var deny atomic.Bool
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && deny.Load() {
			answer(w, http.StatusForbidden, "AccessDenied")
			return
		}
		inner.ServeHTTP(w, r)
	}))
	if err := open(t, url, impatient).Create(t.Context(), "log/a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	deny.Store(true)
	store := open(t, url, impatient)
	deny.Store(false) // a policy may allow other objects than the probe
	if data, err := store.Get(t.Context(), "log/a"); err != nil || string(data) != "a" {
		t.Errorf("Get: %q, %v", data, err)
	}
	err := store.Create(t.Context(), "log/b", nil)
	if !errors.Is(err, leat.ErrDenied) || !strings.Contains(err.Error(), "s3:PutObject") || !strings.Contains(err.Error(), "~probe") {
		t.Errorf("Create: %v, want ErrDenied, what to allow and where", err)
	}
}

// What a store answers is said in words a caller can match and a person can use.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error // nil when none of ours
		text   string
	}{
		{403, "AccessDenied", leat.ErrDenied, "allow these credentials s3:"},
		{401, "Unauthorized", leat.ErrDenied, "allow these credentials s3:"},
		{403, "InvalidAccessKeyId", leat.ErrDenied, "AWS_PROFILE"},
		{403, "SignatureDoesNotMatch", leat.ErrDenied, "does not accept the credentials"},
		{400, "ExpiredToken", leat.ErrDenied, "does not accept the credentials"},
		{404, "NoSuchBucket", leat.ErrNotFound, " s3 mb s3://bucket"},
		{404, "XAdminUserNotFound", leat.ErrDenied, "AWS_PROFILE"},
		{404, "SomethingElse", nil, "HTTP 404 SomethingElse"},
		{301, "PermanentRedirect", nil, "AWS_REGION"},
		{507, "InsufficientStorage", leat.ErrFull, "raise its quota"},
		{403, "QuotaExceeded", leat.ErrFull, "raise its quota"},
		{507, "XMinioStorageFull", leat.ErrFull, "raise its quota"},
		{403, "RequestTimeTooSkewed", nil, "clock"},
		{403, "InvalidObjectState", nil, "storage class"},
		{400, "SomethingElse", nil, "HTTP 400 SomethingElse: as the test wants it"},
		{500, "InternalError", nil, "gave up after 2 attempts"},
		{503, "SlowDown", nil, "gave up after 2 attempts"},
		{429, "TooManyRequests", nil, "gave up after 2 attempts"},
		{400, "BadDigest", nil, "gave up after 2 attempts"},
		{501, "NotImplemented", nil, "HTTP 501 NotImplemented"},
	} {
		t.Run(fmt.Sprint(c.status, c.code), func(t *testing.T) {
			t.Parallel()
			inner := fake(t)
			var fail atomic.Bool
			few := impatient
			few.Attempts = 2
			store := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if fail.Load() {
					answer(w, c.status, c.code)
					return
				}
				inner.ServeHTTP(w, r)
			})), few)
			fail.Store(true)
			errs := map[string]error{"Create": store.Create(t.Context(), "log/a", []byte("x")), "Remove": store.Remove(t.Context(), "log/a")}
			_, errs["Get"] = store.Get(t.Context(), "log/a")
			if c.status == 404 { // else the answer to HEAD does not tell
				_, errs["Size"] = store.Size(t.Context(), "log/a")
			}
			for method, err := range errs {
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) ||
					!strings.Contains(err.Error(), "s3://bucket/some/prefix/log/a") {
					t.Errorf("%s: %v, want %v, with %q and the object", method, err, c.want, c.text)
				}
				for _, other := range []error{leat.ErrDenied, leat.ErrFull, leat.ErrNotFound, fs.ErrExist, fs.ErrNotExist, io.ErrUnexpectedEOF} {
					if errors.Is(err, other) && !errors.Is(c.want, other) {
						t.Errorf("%s: %v, which is %v, want %v", method, err, other, c.want)
					}
				}
			}
		})
	}
}

// A store whose lists are not what S3 promises must not make an archive look
// shorter than it is.
func TestBrokenLists(t *testing.T) {
	page := func(truncated bool, token string, keys ...string) string {
		s := `<ListBucketResult>`
		for _, k := range keys {
			s += "<Contents><Key>some/prefix/log/" + k + "</Key></Contents>"
		}
		return s + fmt.Sprintf("<IsTruncated>%v</IsTruncated><NextContinuationToken>%s</NextContinuationToken></ListBucketResult>", truncated, token)
	}
	for name, pages := range map[string][]string{
		"out of order": {page(true, "1", "m", "n"), page(false, "", "a")},
		"no token":     {page(true, "", "a")},
		"no end":       {page(true, "1", "a"), page(true, "1", "b"), page(true, "1", "c")},
	} {
		t.Run(name, func(t *testing.T) {
			inner := fake(t)
			var n atomic.Int32
			store := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("delimiter") == "" {
					inner.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/xml")
				fmt.Fprint(w, pages[min(int(n.Add(1)), len(pages))-1])
			})), impatient)
			var err error
			for _, err = range store.List(t.Context(), "log/", "") {
			}
			if !errors.Is(err, leat.ErrUnsupported) {
				t.Errorf("%v, want ErrUnsupported", err)
			}
		})
	}
}

func TestStoreWithoutRanges(t *testing.T) {
	inner := fake(t)
	store := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		inner.ServeHTTP(w, r)
	})), impatient)
	if err := store.Create(t.Context(), "a", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if data, err := store.GetRange(t.Context(), "a", 2, 3); !errors.Is(err, leat.ErrUnsupported) {
		t.Errorf("%q, %v, want ErrUnsupported", data, err)
	}
}

// Looking for credentials on a machine that has none, in a network that swallows
// the question, ends.
func TestNoCredentials(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	defer silent.CloseClientConnections()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
	_, err := s3.Open(t.Context(), "s3://bucket?endpoint=http://127.0.0.1:1", short)
	if !errors.Is(err, leat.ErrDenied) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("%v, want ErrDenied and what to set", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s3.Open(ctx, "s3://bucket", short); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v, want context.Canceled", err)
	}
}

// Credentials and regions come from where AWS tools take them.
func TestProfiles(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"config":      "[profile backup]\nregion = eu-central-1\n[profile other]\nregion = eu-west-3\n",
		"credentials": "[backup]\naws_access_key_id = BACKUPKEY\naws_secret_access_key = x\n[other]\naws_access_key_id = OTHERKEY\naws_secret_access_key = x\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(folder, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(folder, "credentials"))
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_REGION", "")
	var signed atomic.Value
	inner := fake(t)
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed.Store(r.Header.Get("Authorization"))
		inner.ServeHTTP(w, r)
	}))
	for _, c := range []struct{ env, query, key, region string }{
		{"other", "", "OTHERKEY", "eu-west-3"},
		{"other", "&profile=backup", "BACKUPKEY", "eu-central-1"},
		{"backup", "&region=sa-east-1", "BACKUPKEY", "sa-east-1"},
	} {
		t.Setenv("AWS_PROFILE", c.env)
		open(t, url+c.query, impatient)
		if got := signed.Load().(string); !strings.Contains(got, "Credential="+c.key+"/") || !strings.Contains(got, "/"+c.region+"/s3/") {
			t.Errorf("%+v: signed with %s", c, got)
		}
	}
	t.Setenv("AWS_PROFILE", "")
	if _, err := s3.Open(t.Context(), url+"&profile=nobody", impatient); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a profile that is not there: %v, want an error that names it", err)
	}
}
