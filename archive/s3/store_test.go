package s3_test

import (
	"testing"

	"github.com/leathq/leat/archive"
	"github.com/leathq/leat/archive/archivetest"
	"github.com/leathq/leat/internal/versitygw"
)

func TestFake(t *testing.T) {
	url := serve(t, fake(t))
	archivetest.TestStore(t, func(t testing.TB) archive.Store { return open(t, url, impatient) })
}

func TestVersitygw(t *testing.T) {
	url := versitygw.Start(t, t.TempDir()).URL("some/prefix")
	archivetest.TestStore(t, func(t testing.TB) archive.Store { return open(t, url, impatient) })
}
