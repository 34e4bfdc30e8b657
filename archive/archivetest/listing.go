package archivetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

func lists(c *check) {
	for _, name := range []string{"b.json", "a.json", "c/d.json", "c/e.json", "c/f/g/h.json"} {
		c.create(name, []byte(name))
	}
	for folder, want := range map[string][]string{
		"":       {"a.json", "b.json", "c/"},
		"c/":     {"d.json", "e.json", "f/"},
		"c/f/":   {"g/"},
		"c/f/g/": {"h.json"},
		"none/":  nil,
		"c/d/":   nil,
	} {
		if got := c.list(folder, ""); !slices.Equal(got, want) {
			c.Errorf("List(%q): %q, want %q", folder, got, want)
		}
	}
	var top []string
	for name, err := range c.store.List(c.Context(), "", "") {
		if err != nil {
			c.Fatalf("List of the whole store: %v", err)
		}
		if strings.HasPrefix(name, "~") {
			c.Errorf("the whole store lists %q, which is the store's own", name)
		}
		top = append(top, name)
	}
	if !slices.Contains(top, c.log+"/") || !slices.IsSorted(top) {
		c.Errorf("the whole store lists %q, want %q among them, in order", top, c.log+"/")
	}
}

// orderNames sort as bytes, which is neither as words nor as paths: "-", "." and
// "+" come before the slash that ends a folder's name, letters after it.
var orderNames = []string{
	"a/x", "a-b", "a.b", "a+/x", "a0", "aa/x", "A", "Z/x", "b", "ä", "日", "a~", "a b", "_", "-", "9", "10", "a-b.c/x",
}

func firstElements() []string {
	var want []string
	for _, name := range orderNames {
		if i := strings.IndexByte(name, '/'); i >= 0 {
			name = name[:i+1]
		}
		want = append(want, name)
	}
	slices.Sort(want)
	return want
}

func listsInOrder(c *check) {
	for _, name := range orderNames {
		c.create(name, nil)
	}
	if got, want := c.list("", ""), firstElements(); !slices.Equal(got, want) {
		c.Errorf("got  %q,\nwant %q", got, want)
	}
}

func listsAfter(c *check) {
	for _, name := range orderNames {
		c.create(name, nil)
	}
	all := firstElements()
	for _, after := range append([]string{"", "!", "a", "a/", "a/w", "a/x", "a/y", "a-", "a-b.", "zzz", "\U0010ffff", "~~"}, all...) {
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s <= after })
		if got := c.list("", after); !slices.Equal(got, want) {
			c.Errorf("after %q: got %q,\nwant %q", after, got, want)
		}
	}
	if got := c.list("none/", "a"); len(got) > 0 {
		c.Errorf("of no folder after a name: %q, want nothing", got)
	}
}

// listsPages lists more objects, and more folders, than stores return at once.
func listsPages(c *check) {
	const objects = 2345
	var want []string
	var wg sync.WaitGroup
	turn := make(chan struct{}, 32)
	for i := range objects {
		name := fmt.Sprintf("%020d.json", i)
		if i%3 == 0 {
			name = fmt.Sprintf("%020d/in", i)
		}
		want = append(want, strings.TrimSuffix(name, "in"))
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			if err := c.store.Create(c.Context(), c.object("many/"+name), []byte{'x'}); err != nil {
				c.Errorf("Create(%q): %v", name, err)
			}
		})
	}
	wg.Wait()
	if got := c.list("many/", ""); !slices.Equal(got, want) {
		c.Errorf("listed %d names, or other ones, want %d", len(got), len(want))
	}
	for _, i := range []int{0, 1, 999, 1000, 1001, 1300, objects - 2, objects - 1} {
		if got := c.list("many/", want[i]); !slices.Equal(got, want[i+1:]) {
			c.Errorf("listed %d names after %q, or other ones, want %d", len(got), want[i], len(want)-i-1)
		}
	}
}

func listStops(c *check) {
	for _, name := range []string{"a", "b", "c/d", "e"} {
		c.create(name, nil)
	}
	list := c.store.List(c.Context(), c.object(""), "")
	for range 2 { // one sequence may be gone through twice
		var got []string
		for name, err := range list {
			if err != nil {
				c.Fatal(err)
			}
			if got = append(got, name); len(got) == 2 {
				break
			}
		}
		if want := []string{"a", "b"}; !slices.Equal(got, want) {
			c.Errorf("the first two are %q, want %q", got, want)
		}
	}
}
