package archivetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leathq/leat"
)

func exactBytes(c *check) {
	for name, data := range map[string][]byte{
		"text":      []byte("{\n\t\"format\": 1\r\n}\n"),
		"every":     everyByte(),
		"zeros":     make([]byte, 100),
		"no-utf-8":  {0xff, 0xfe, 0, 0xc3},
		"xml":       []byte("<a>&amp;]]></a>"),
		"gzip-like": {0x1f, 0x8b, 8, 0, 0, 0, 0, 0},
		"chunk":     []byte("5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n"),
	} {
		c.create(name, data)
		if got := c.get(name); !bytes.Equal(got, data) {
			c.Errorf("%s: got %q, want %q", name, got, data)
		}
	}
}

func everyByte() []byte {
	data := make([]byte, 256)
	for i := range data {
		data[i] = byte(i)
	}
	return data
}

func sizes(c *check) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, n := range []int{0, 1, 511, 512, 4096, 65535, 65536, 1<<20 + 1, 5 << 20, 64 << 20} {
		name, data := fmt.Sprintf("segments/s/%d.parquet", n), randomBytes(rng, n)
		c.create(name, data)
		for again := range 2 { // a store may answer the second time from a cache
			if got := c.get(name); !bytes.Equal(got, data) {
				c.Errorf("Get of %d bytes, time %d: got %d bytes, or other ones (seed %d)", n, again+1, len(got), seed)
			}
		}
		if size, err := c.store.Size(c.Context(), c.object(name)); err != nil || size != int64(n) {
			c.Errorf("Size of %d bytes: %d, %v", n, size, err)
		}
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	data := make([]byte, n+7)
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := range min(8, n+7-i) {
			data[i+j] = byte(v >> (8 * j))
		}
	}
	return data[:n]
}

// archiveNames are names as archives have them, the log's ID being as awkward as
// it may be, and names that later versions may come to.
var archiveNames = []string{
	"log.json",
	"keys/8f5c01ab",
	"manifests/shardId-000000000000/00000000000000000001.json",
	"segments/shardId-000000000000/00000000000000000001-18446744073709551615.parquet",
	"segments/shardId-000000000000/00000000000000000001-00000000000000000002-" + longHex + ".parquet",
	"compact/day/shardId-000000000007/2010-12-01-00000000000000000003.parquet",
	"tile/0/x001/x234/067.p/255",
	"deep/" + strings.Repeat("d/", 40) + "object",
	"long/" + strings.Repeat("n", 200),
	"space in name", "plus+sign", "percent%2Fsign%", "equal=and&amp;", "colon:semi;comma,", "quote'\"", "at@tilde~", "(paren)[bracket]{brace}",
	"hash#question?", "star*", "back\\slash", "größe/日本語", ".hidden", "...", "-dash", "_",
}

const longHex = "e19925df8506a75c3c0768330ab9b923d0246359f3e4afa1102c120a5148d10c"

func awkwardNames(c *check) {
	logs := []string{"", "-a", ".b", "_c..d", "Z-0.9_", strings.Repeat("i", 50)}
	var objects []string
	for _, log := range logs {
		for _, name := range archiveNames {
			objects = append(objects, c.log+log+"/"+name)
		}
	}
	for _, o := range objects {
		if err := c.store.Create(c.Context(), o, []byte(o)); err != nil {
			c.Errorf("Create(%q): %v", o, err)
		}
	}
	for _, o := range objects {
		if data, err := c.store.Get(c.Context(), o); err != nil || string(data) != o {
			c.Errorf("Get(%q): %q, %v", o, data, err)
		}
		folder, base := o[:strings.LastIndex(o, "/")+1], o[strings.LastIndex(o, "/")+1:]
		found := false
		for name, err := range c.store.List(c.Context(), folder, "") {
			if err != nil {
				c.Errorf("List(%q): %v", folder, err)
			}
			found = found || name == base
		}
		if !found {
			c.Errorf("List(%q) does not yield %q", folder, base)
		}
	}
}

func memory(c *check) {
	data := []byte("as given")
	c.create("segments/a", data)
	copy(data, "CHANGED!")
	for range 3 {
		got := c.get("segments/a")
		if string(got) != "as given" {
			c.Fatalf("got %q, want what was given to Create", got)
		}
		copy(got, "CHANGED!")
		part, err := c.store.GetRange(c.Context(), c.object("segments/a"), 3, 5)
		if err != nil || string(part) != "given" {
			c.Fatalf("GetRange: %q, %v, want what was given to Create", part, err)
		}
		copy(part, "XXXXX")
	}
}

func ranges(c *check) {
	data := randomBytes(rand.New(rand.NewPCG(1, 2)), 200_000)
	c.create("segments/a", data)
	c.create("segments/empty", nil)
	end := int64(len(data))
	read := func(name string, offset, n int64) ([]byte, error) {
		return c.store.GetRange(c.Context(), c.object(name), offset, n)
	}
	for range 2 { // a store may answer the second time from a cache
		for _, r := range [][2]int64{
			{0, 1}, {0, end}, {end - 1, 1}, {end - 8, 8}, {1, end - 1}, {65_536, 65_536}, {65_535, 2}, {99, 12_345},
			{0, 0}, {100, 0}, {end, 0},
		} {
			got, err := read("segments/a", r[0], r[1])
			if err != nil || !bytes.Equal(got, data[r[0]:r[0]+r[1]]) {
				c.Errorf("%d bytes at %d of %d: got %d bytes, or other ones, %v", r[1], r[0], end, len(got), err)
			}
		}
		for _, r := range [][2]int64{{end, 1}, {end - 1, 2}, {0, end + 1}, {end + 5, 1}, {0, 1 << 60}, {1 << 62, 1 << 62}, {5, 1<<63 - 1}} {
			if got, err := read("segments/a", r[0], r[1]); !errors.Is(err, io.ErrUnexpectedEOF) {
				c.Errorf("%d bytes at %d of %d: got %d bytes, %v, want io.ErrUnexpectedEOF", r[1], r[0], end, len(got), err)
			}
		}
		for _, r := range [][2]int64{{-1, 1}, {0, -1}, {-1 << 63, 1}} {
			if got, err := read("segments/a", r[0], r[1]); !errors.Is(err, leat.ErrInvalid) {
				c.Errorf("%d bytes at %d: got %d bytes, %v, want ErrInvalid", r[1], r[0], len(got), err)
			}
		}
		if got, err := read("segments/empty", 0, 0); err != nil || len(got) != 0 {
			c.Errorf("no bytes of an empty object: %d bytes, %v", len(got), err)
		}
		if _, err := read("segments/empty", 0, 1); !errors.Is(err, io.ErrUnexpectedEOF) {
			c.Errorf("a byte of an empty object: %v, want io.ErrUnexpectedEOF", err)
		}
		for _, n := range []int64{0, 1} {
			if _, err := read("segments/none", 0, n); !errors.Is(err, fs.ErrNotExist) {
				c.Errorf("%d bytes of no object: %v, want fs.ErrNotExist", n, err)
			}
		}
	}
}

func absent(c *check) {
	c.create("folder/object", []byte("x"))
	for _, name := range []string{"none", "none/none", "folder/obj", "folder/objects"} {
		if _, err := c.store.Get(c.Context(), c.object(name)); !errors.Is(err, fs.ErrNotExist) {
			c.Errorf("Get(%q): %v, want fs.ErrNotExist", name, err)
		}
		if _, err := c.store.Size(c.Context(), c.object(name)); !errors.Is(err, fs.ErrNotExist) {
			c.Errorf("Size(%q): %v, want fs.ErrNotExist", name, err)
		}
		if names := c.list(name+"/", ""); len(names) > 0 {
			c.Errorf("List(%q): %q, want nothing", name+"/", names)
		}
	}
	for name, of := range map[string]func() error{
		"Get":      func() error { _, err := c.store.Get(c.Context(), c.object("folder")); return err },
		"GetRange": func() error { _, err := c.store.GetRange(c.Context(), c.object("folder"), 0, 1); return err },
		"Size":     func() error { _, err := c.store.Size(c.Context(), c.object("folder")); return err },
	} {
		if err := of(); !errors.Is(err, fs.ErrNotExist) {
			c.Errorf("%s of a folder: %v, want fs.ErrNotExist", name, err)
		}
	}
}

func writtenOnce(c *check) {
	c.create("a", []byte("first"))
	for _, data := range [][]byte{[]byte("other"), []byte("first"), nil, make([]byte, 1<<20)} {
		if err := c.store.Create(c.Context(), c.object("a"), data); !errors.Is(err, fs.ErrExist) {
			c.Errorf("Create of what exists, with %d bytes: %v, want fs.ErrExist", len(data), err)
		}
	}
	c.create("empty", nil)
	if err := c.store.Create(c.Context(), c.object("empty"), []byte("more")); !errors.Is(err, fs.ErrExist) {
		c.Errorf("Create of an empty object that exists: %v, want fs.ErrExist", err)
	}
	if got := c.get("a"); string(got) != "first" {
		c.Errorf("got %q, want the first", got)
	}
	if got := c.get("empty"); len(got) != 0 {
		c.Errorf("got %q, want the empty object", got)
	}
}

// raceForOne lets many create one object at once, again and again. One of them
// does, and what the others then read is what that one wrote.
func raceForOne(c *check) {
	const rounds, racers = 40, 50
	for round := range rounds {
		name := fmt.Sprintf("manifests/%d.json", round)
		begin := make(chan struct{})
		var wg sync.WaitGroup
		var created atomic.Int64
		var winner atomic.Value
		read := make([]string, racers)
		for i := range racers {
			wg.Go(func() {
				data := fmt.Appendf(nil, "written by %d", i)
				<-begin
				err := c.store.Create(c.Context(), c.object(name), data)
				switch {
				case err == nil:
					created.Add(1)
					winner.Store(string(data))
				case !errors.Is(err, fs.ErrExist):
					c.Errorf("Create: %v, want nil or fs.ErrExist", err)
				}
				got, err := c.store.Get(c.Context(), c.object(name))
				if err != nil {
					c.Errorf("Get after Create: %v", err)
				}
				read[i] = string(got)
			})
		}
		close(begin)
		wg.Wait()
		if created.Load() != 1 {
			c.Fatalf("round %d: %d created the object, want 1", round, created.Load())
		}
		if i := slices.IndexFunc(read, func(s string) bool { return s != winner.Load() }); i >= 0 {
			c.Errorf("round %d: racer %d read %q, want what the winner wrote: %q", round, i, read[i], winner.Load())
		}
	}
}

// raceOfProcesses lets several processes create the same objects in the same
// order: each object has one maker, and its bytes.
func raceOfProcesses(c *check) {
	const processes, objects = 8, 20
	var wg sync.WaitGroup
	made := make([][]int, processes) // the objects that each made
	for p := range processes {
		store := c.open(c)
		wg.Go(func() {
			for o := range objects {
				err := store.Create(c.Context(), c.object(fmt.Sprint("o", o)), bytes.Repeat([]byte{byte(p)}, 100_000))
				switch {
				case err == nil:
					made[p] = append(made[p], o)
				case !errors.Is(err, fs.ErrExist):
					c.Errorf("Create: %v, want nil or fs.ErrExist", err)
				}
			}
		})
	}
	wg.Wait()
	for o := range objects {
		var makers []int
		for p := range processes {
			if slices.Contains(made[p], o) {
				makers = append(makers, p)
			}
		}
		if len(makers) != 1 {
			c.Errorf("object %d was created by processes %v, want one", o, makers)
		} else if got := c.get(fmt.Sprint("o", o)); !bytes.Equal(got, bytes.Repeat([]byte{byte(makers[0])}, 100_000)) {
			c.Errorf("object %d holds other bytes than process %d wrote", o, makers[0])
		}
	}
}

func invalidNames(c *check) {
	for _, name := range []string{"", ".", "/", "/a", "a/", "a//b", "./a", "a/./b", "../a", "a/../b", "a/.."} {
		for method, err := range map[string]error{
			"Create": c.store.Create(c.Context(), name, []byte("x")),
			"Remove": c.store.Remove(c.Context(), name),
		} {
			if !errors.Is(err, leat.ErrInvalid) {
				c.Errorf("%s(%q): %v, want ErrInvalid", method, name, err)
			}
		}
		if _, err := c.store.Get(c.Context(), name); !errors.Is(err, leat.ErrInvalid) {
			c.Errorf("Get(%q): %v, want ErrInvalid", name, err)
		}
		if _, err := c.store.GetRange(c.Context(), name, 0, 1); !errors.Is(err, leat.ErrInvalid) {
			c.Errorf("GetRange(%q): %v, want ErrInvalid", name, err)
		}
		if _, err := c.store.Size(c.Context(), name); !errors.Is(err, leat.ErrInvalid) {
			c.Errorf("Size(%q): %v, want ErrInvalid", name, err)
		}
	}
}

func removes(c *check) {
	for _, name := range []string{"segments/a", "segments/b", "segments/folder/c"} {
		c.create(name, []byte(name))
		c.get(name)
	}
	for range 2 { // the second time it is not there
		if err := c.store.Remove(c.Context(), c.object("segments/a")); err != nil {
			c.Fatalf("Remove: %v", err)
		}
	}
	if err := c.store.Remove(c.Context(), c.object("none/none")); err != nil {
		c.Errorf("Remove of what never was: %v", err)
	}
	if _, err := c.store.Get(c.Context(), c.object("segments/a")); !errors.Is(err, fs.ErrNotExist) {
		c.Errorf("Get of what was removed: %v, want fs.ErrNotExist", err)
	}
	if got, want := c.list("segments/", ""), []string{"b", "folder/"}; !slices.Equal(got, want) {
		c.Errorf("after Remove the folder holds %q, want %q", got, want)
	}
	c.create("segments/a", []byte("anew"))
	if got := c.get("segments/a"); string(got) != "anew" {
		c.Errorf("an object created after another was removed: %q", got)
	}
}

func contextEnds(c *check) {
	c.create("segments/a", []byte("x"))
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	want := func(method string, err error) {
		c.Helper()
		if !errors.Is(err, context.Canceled) {
			c.Errorf("%s with an ended context: %v, want context.Canceled", method, err)
		}
	}
	want("Create", c.store.Create(ctx, c.object("b"), []byte("x")))
	_, err := c.store.Get(ctx, c.object("none"))
	want("Get", err)
	_, err = c.store.GetRange(ctx, c.object("none"), 0, 1)
	want("GetRange", err)
	_, err = c.store.Size(ctx, c.object("a"))
	want("Size", err)
	want("Remove", c.store.Remove(ctx, c.object("segments/a")))
	for _, err = range c.store.List(ctx, c.object(""), "") {
	}
	want("List", err)
	if got := c.get("segments/a"); string(got) != "x" {
		c.Errorf("got %q, want the object as it was", got)
	}
	if _, err := c.store.Get(c.Context(), c.object("b")); !errors.Is(err, fs.ErrNotExist) {
		c.Errorf("the object was created after the context had ended: %v", err)
	}
}
