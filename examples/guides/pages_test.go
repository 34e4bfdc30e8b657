package guides

import (
	"testing"

	"github.com/leathq/leat/internal/pages"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the guides show is in this package.
func TestPages(t *testing.T) {
	pages.Check(t, "../../docs/evolving-events.md", "../../docs/fleet.md", "../../docs/moving.md")
}
