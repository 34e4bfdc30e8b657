package leattest

import (
	"testing"

	"github.com/leathq/leat"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openReference opens the reference log. Its reopening is pretended: what is in
// memory is still there.
func openReference(t testing.TB, s Setup) Instance {
	t.Helper()
	log, err := New(s.Config, s.Clock)
	if err != nil {
		t.Fatalf("create the reference log: %v", err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return Instance{Log: log, Reopen: func() leat.Log {
		_ = log.Close()
		log.mu.Lock()
		defer log.mu.Unlock()
		log.closed = false
		return log
	}}
}

func TestReference(t *testing.T) { TestLog(t, openReference) }
