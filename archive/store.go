package archive

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/leathq/leat"
)

// A Store keeps objects under names such as "shop/log.json": elements joined by
// slashes, none of them empty, "." or "..". An object is written once and never
// changes. Methods are safe for concurrent use, also by several processes. They
// obey their context, and give up by themselves on a peer that does not answer.
type Store interface {
	// Create writes an object, whole and durable when it returns nil. If the
	// object exists, it stays as it is and the error is [fs.ErrExist]; it is then
	// durable as well. After any other error the object may or may not exist, but
	// never in part. A full store is [leat.ErrFull]. Create does not keep data.
	Create(ctx context.Context, name string, data []byte) error

	// Get returns the bytes of an object, or [fs.ErrNotExist]. They belong to
	// the caller.
	Get(ctx context.Context, name string) ([]byte, error)

	// GetRange returns n bytes of an object from an offset on. The error is
	// [io.ErrUnexpectedEOF] when it has fewer.
	GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error)

	// Size returns the size of an object in bytes, or [fs.ErrNotExist].
	Size(ctx context.Context, name string) (int64, error)

	// List yields what is directly in a folder, such as "shop/segments/", in
	// ascending order of bytes: the names of objects and, with a final slash, of
	// folders, without the name of the folder itself, and only those that come
	// after the given one. The folder "" is the whole store. A folder that is not
	// there yields nothing. An error is always the last pair.
	List(ctx context.Context, folder, after string) iter.Seq2[string, error]

	// Remove removes an object. Removing what is not there is no error. Only what
	// can be made again from the rest of the archive is ever removed.
	Remove(ctx context.Context, name string) error
}

// OpenStore opens the store that a URL names. "file://PATH" is a directory,
// which is made if it is not there; PATH is taken as it stands, so
// "file:///var/leat" is absolute and "file://archive" is relative.
func OpenStore(url string) (Store, error) {
	path, ok := strings.CutPrefix(url, "file://")
	if !ok {
		return nil, fmt.Errorf("open archive store %q: %w: only file://PATH is", url, leat.ErrUnsupported)
	}
	if path == "" {
		return nil, &leat.InvalidError{Field: "archive store", Limit: "file:// and the path of a directory", Got: url}
	}
	return openDir(path)
}
