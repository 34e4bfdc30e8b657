package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/durable"
)

// tokens is the content of the file.
type tokens struct {
	Format int    `json:"format"` // 1
	Tokens uint64 `json:"tokens"` // up to this one, tokens may have been given out
}

// readTokens returns the number up to which tokens may have been given out.
func readTokens(path string) (uint64, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the lease tokens: %w", err)
	}
	var t tokens
	if err := json.Unmarshal(data, &t); err != nil {
		return 0, fmt.Errorf("read the lease tokens from %s: %w: %w; "+
			"to go on, write a number above every token ever given out", path, leat.ErrCorrupt, err)
	}
	if t.Format != 1 {
		return 0, fmt.Errorf("read the lease tokens from %s: format %d is %w: a newer version of Leat wrote it", path, t.Format, leat.ErrUnsupported)
	}
	return t.Tokens, nil
}

// writeTokens replaces the file, and returns when that is durable.
func writeTokens(path string, n uint64) error {
	data, err := json.Marshal(tokens{Format: 1, Tokens: n})
	if err == nil {
		err = durable.WriteFile(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("reserve lease tokens: %w", err)
	}
	return nil
}
