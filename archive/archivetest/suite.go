// Package archivetest holds the suite that every [archive.Store] must pass.
package archivetest

import (
	"testing"

	"github.com/leathq/leat/archive"
)

// TestStore proves that a store keeps the promises of [archive.Store], as far as
// that is possible without pulling a plug. Each call of open opens the same
// store, as one more process would; it may return the same value again. What
// the suite creates, it leaves in folders at the top whose names begin with
// "suite-"; these must not exist before.
func TestStore(t *testing.T, open func(t testing.TB) archive.Store) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			c.run(&check{TB: t, open: open, store: open(t), log: "suite-" + c.folder})
		})
	}
}

// A check is one test of the suite, in a folder of its own.
type check struct {
	testing.TB
	open  func(testing.TB) archive.Store
	store archive.Store
	log   string // the folder, which is what a log's ID is in a real store
}

var checks = []struct {
	name   string
	folder string
	run    func(*check)
}{
	{"an object is read as it was written", "exact", exactBytes},
	{"of any size", "sizes", sizes},
	{"under any name an archive has", "names", awkwardNames},
	{"and is the caller's", "memory", memory},
	{"ranges", "ranges", ranges},
	{"what is not there", "absent", absent},
	{"an object never changes", "once", writtenOnce},
	{"one of many creates an object", "race", raceForOne},
	{"also of many processes", "processes", raceOfProcesses},
	{"names outside of the store", "outside", invalidNames},
	{"a folder lists what is directly in it", "list", lists},
	{"in the order of bytes", "order", listsInOrder},
	{"after a name", "after", listsAfter},
	{"thousands of objects", "pages", listsPages},
	{"as far as the caller wants", "stop", listStops},
	{"removed", "remove", removes},
	{"an ended context", "context", contextEnds},
}

// object returns the full name of an object of the check.
func (c *check) object(name string) string { return c.log + "/" + name }

// create creates an object.
func (c *check) create(name string, data []byte) {
	c.Helper()
	if err := c.store.Create(c.Context(), c.object(name), data); err != nil {
		c.Fatalf("Create(%q): %v", name, err)
	}
}

// get returns the bytes of an object.
func (c *check) get(name string) []byte {
	c.Helper()
	data, err := c.store.Get(c.Context(), c.object(name))
	if err != nil {
		c.Fatalf("Get(%q): %v", name, err)
	}
	return data
}

// list returns what is in a folder of the check after a name.
func (c *check) list(folder, after string) []string {
	c.Helper()
	var names []string
	for name, err := range c.store.List(c.Context(), c.object(folder), after) {
		if err != nil {
			c.Fatalf("List(%q, %q): %v", folder, after, err)
		}
		names = append(names, name)
	}
	return names
}
