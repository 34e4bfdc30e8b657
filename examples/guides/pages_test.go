package guides

import (
	"testing"

	"github.com/leathq/leat/internal/pages"
)

// What the guides show is in this package.
func TestPages(t *testing.T) {
	pages.Check(t, "../../docs/evolving-events.md", "../../docs/fleet.md", "../../docs/moving.md")
}
