package servicetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/leathq/leat/service"
)

// TestSnapshotStore proves what service.SnapshotStore promises. create makes a
// new, empty database, and returns what opens a store in it as another process
// would.
func TestSnapshotStore(t *testing.T, create func(t testing.TB) (open func(t testing.TB) service.SnapshotStore)) {
	get := func(t *testing.T, s service.SnapshotStore, stream, reducer string, want []byte) {
		t.Helper()
		got, err := s.Snapshot(t.Context(), stream, reducer)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the snapshot of %q by %q is %q, %v; want %q", stream, reducer, got, err, want)
		}
	}
	put := func(t *testing.T, s service.SnapshotStore, stream, reducer string, data []byte) {
		t.Helper()
		if err := s.PutSnapshot(t.Context(), stream, reducer, data); err != nil {
			t.Errorf("put the snapshot of %q by %q: %v", stream, reducer, err)
		}
	}
	t.Run("nothing is kept at first", func(t *testing.T) {
		get(t, create(t)(t), "sku-1", "1", nil)
	})
	t.Run("what was put last is found, by others too", func(t *testing.T) {
		open := create(t)
		a, b := open(t), open(t)
		put(t, a, "sku-1", "1", []byte("first"))
		get(t, b, "sku-1", "1", []byte("first"))
		put(t, b, "sku-1", "1", []byte("second"))
		get(t, a, "sku-1", "1", []byte("second"))
	})
	t.Run("streams and reducers are apart", func(t *testing.T) {
		s := create(t)(t)
		put(t, s, "sku-1", "1", []byte("a"))
		put(t, s, "sku-1", "2", []byte("b"))
		put(t, s, "sku-2", "1", []byte("c"))
		get(t, s, "sku-1", "1", []byte("a"))
		get(t, s, "sku-1", "2", []byte("b"))
		get(t, s, "sku-2", "1", []byte("c"))
	})
	t.Run("any bytes and names come back", func(t *testing.T) {
		s := create(t)(t)
		data := append([]byte{0, 0xff, '\''}, bytes.Repeat([]byte{7}, 1<<20)...)
		put(t, s, "sku-'; \u2603 %", `"`, data)
		get(t, s, "sku-'; \u2603 %", `"`, data)
	})
	t.Run("many may write at once", func(t *testing.T) {
		open := create(t)
		stores := []service.SnapshotStore{open(t), open(t)}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { put(t, stores[i%2], "sku-1", fmt.Sprint(i%4), fmt.Append(nil, i%4)) })
		}
		wg.Wait()
		for i := range 4 {
			get(t, stores[0], "sku-1", fmt.Sprint(i), fmt.Append(nil, i))
		}
	})
}
