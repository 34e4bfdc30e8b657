package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/memdisk"
	"github.com/leathq/leat/internal/versitygw"
)

// A store whose disk is full says so, keeps what it has, and goes on when there
// is space.
func TestFullStore(t *testing.T) {
	versitygw.Need(t)
	memdisk.Run(t, func(t *testing.T) {
		g := versitygw.Start(t, memdisk.Mount(t, "size=2m"))
		store := open(t, g.URL(""), impatient)
		object := func(i int) (name string, data []byte) {
			return fmt.Sprintf("log/%d/object", i), bytes.Repeat([]byte{byte(i)}, 50_000)
		}
		n := 0
		for err := error(nil); err == nil; n++ {
			name, data := object(n)
			if err = store.Create(t.Context(), name, data); err != nil && !errors.Is(err, leat.ErrFull) {
				t.Fatalf("Create in a full store: %v, want ErrFull", err)
			}
		}
		n-- // the first that did not fit
		if store.Stats().Failed > 0 {
			t.Errorf("%+v, want that a full store is not asked again at once", store.Stats())
		}
		for i := range n {
			name, want := object(i)
			if data, err := store.Get(t.Context(), name); err != nil || !bytes.Equal(data, want) {
				t.Errorf("object %d of a full store: %d bytes, %v", i, len(data), err)
			}
		}
		name, data := object(n)
		if _, err := store.Get(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get of what did not fit: %v, want fs.ErrNotExist", err)
		}
		for i := range 2 {
			name, _ := object(i)
			if err := store.Remove(t.Context(), name); err != nil {
				t.Fatalf("Remove from a full store: %v", err)
			}
		}
		if err := store.Create(t.Context(), name, data); err != nil {
			t.Errorf("Create when there is space again: %v", err)
		}
	})
}
