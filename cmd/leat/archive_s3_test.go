package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/leattest"
)

// fakeS3 is object storage with the bucket "events". The credentials in the
// environment are for it.
func fakeS3(t *testing.T) http.Handler {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-secret", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("events"); err != nil {
		t.Fatal(err)
	}
	return gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
}

// Commands find an archive in object storage as they do in a directory.
func TestArchiveInObjectStorage(t *testing.T) {
	fake := fakeS3(t)
	server := httptest.NewServer(fake)
	defer server.Close()
	url := "s3://events/leat?endpoint=" + server.URL

	code, _, errOut := leatCmd(t, "", "archive", "status", "--archive", url)
	if code == 0 || !strings.Contains(errOut, "no archive is there") {
		t.Errorf("status of an empty bucket: exit %d, %s", code, errOut)
	}
	log, err := leattest.New(leat.Config{ID: "shop"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Append(t.Context(), []leat.Event{{Stream: "order-1", Type: "OrderPlaced", Source: "orders"}}); err != nil {
		t.Fatal(err)
	}
	store, err := openStore(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	key, err := archive.LoadKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.NewArchiver(log, store, archive.Config{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	to, err := leat.Start(t.Context(), log, leat.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if out := ok(t, "", "archive", "status", "--archive", url, "--json"); !strings.Contains(out, `"log":"shop"`) || !strings.Contains(out, `"events":1`) {
		t.Errorf("status printed %s", out)
	}

	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-None-Match")
		fake.ServeHTTP(w, r)
	}))
	defer careless.Close()
	code, _, errOut = leatCmd(t, "", "archive", "status", "--archive", "s3://events/other?endpoint="+careless.URL)
	if code == 0 || !strings.Contains(errOut, "ignores If-None-Match") {
		t.Errorf("status of a store that replaces objects: exit %d, %s", code, errOut)
	}
}
