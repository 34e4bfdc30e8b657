package archive

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/leathq/leat"
)

// A Store keeps objects under names such as "shop/log.json": elements joined by
// slashes, none of them empty, "." or ".."; another name is a
// [*leat.InvalidError]. A name is never that of an object and of a folder.
// Elements at the top that begin with "~" are the store's own. An object is
// written once and never changes. Methods are safe for concurrent use, also by
// several processes. They obey their context, and give up by themselves on a
// peer that does not answer.
//
// [github.com/leathq/leat/archive/archivetest.TestStore] proves all this of a
// store.
type Store interface {
	// Create writes an object, whole and durable when it returns nil. If the
	// object exists, it stays as it is and the error is [fs.ErrExist]; it is then
	// durable as well. After any other error the object may or may not exist, but
	// never in part. A full store is [leat.ErrFull], one that may only be read is
	// [leat.ErrDenied]. Create does not keep data.
	Create(ctx context.Context, name string, data []byte) error

	// Get returns the bytes of an object, or [fs.ErrNotExist]. They belong to
	// the caller.
	Get(ctx context.Context, name string) ([]byte, error)

	// GetRange returns n bytes of an object from an offset on, or
	// [fs.ErrNotExist]. The error is [io.ErrUnexpectedEOF] when it has fewer.
	// The bytes belong to the caller.
	GetRange(ctx context.Context, name string, offset, n int64) ([]byte, error)

	// Size returns the size of an object in bytes, or [fs.ErrNotExist].
	Size(ctx context.Context, name string) (int64, error)

	// List yields what is directly in a folder, such as "shop/segments/", in
	// ascending order of bytes: the names of objects and, with a final slash, of
	// folders, without the name of the folder itself, and only those that come
	// after the given one. The folder "" is the whole store. A folder that is not
	// there yields nothing; one that has become empty may still be listed. An
	// error is always the last pair.
	List(ctx context.Context, folder, after string) iter.Seq2[string, error]

	// Remove removes an object. Removing what is not there is no error. Only what
	// can be made again from the rest of the archive is ever removed.
	Remove(ctx context.Context, name string) error
}

// CheckName returns a [*leat.InvalidError] unless name is one that a [Store]
// takes.
func CheckName(name string) error {
	if !fs.ValidPath(name) || name == "." {
		return &leat.InvalidError{Field: "object name", Limit: `elements joined by "/", none "." or ".."`, Got: name}
	}
	return nil
}

// CheckRange returns a [*leat.InvalidError] unless an object can have n bytes
// from offset on.
func CheckRange(offset, n int64) error {
	if offset < 0 || n < 0 {
		return &leat.InvalidError{Field: "range", Limit: "an offset and a number of bytes, neither negative", Got: fmt.Sprintf("%d bytes at %d", n, offset)}
	}
	return nil
}

// OpenStore opens the store that a URL names. "file://PATH" is a directory, which
// is made if it is not there, in one that is: where that is missing, too, a disk may
// not be mounted. PATH is taken as it stands, so "file:///var/leat" is absolute and
// "file://archive" is relative. Object storage is opened by [github.com/leathq/leat/archive/s3.Open].
func OpenStore(url string) (Store, error) {
	path, ok := strings.CutPrefix(url, "file://")
	if !ok {
		return nil, fmt.Errorf("open archive store %q: %w: only file://PATH is here, s3:// in the command leat", url, leat.ErrUnsupported)
	}
	if path == "" {
		return nil, &leat.InvalidError{Field: "archive store", Limit: "file:// and the path of a directory", Got: url}
	}
	return openDir(path)
}
