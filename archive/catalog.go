package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/leathq/leat"
)

// A catalog says which compacted files of a shard count. Catalogs are numbered,
// each is whole, and the last is the one that holds. Creating one is the commit.
type catalog struct {
	Format  int          `json:"format"`
	Log     string       `json:"log"`
	Shard   leat.ShardID `json:"shard"`
	Number  uint64       `json:"number"`
	Created time.Time    `json:"created"`

	// Covered is the last sequence in the files; they hold all from 1 on. Manifest
	// is the one that adds it to the archive.
	Covered  uint64      `json:"covered"`
	Manifest manifestRef `json:"manifest"`

	Files   []compacted `json:"files"`   // by first sequence, those of one period by stream and version
	Retired []retired   `json:"retired"` // files that readers of an earlier catalog may still want

	// Signature is a signed note about the rest: see statement.
	Signature string `json:"signature"`
}

// A manifestRef names a manifest.
type manifestRef struct {
	Number uint64 `json:"number"`
	SHA256 string `json:"sha256"`
}

// Levels of compacted files.
const (
	levelDay   = "day"
	levelMonth = "month"
)

// A compacted describes a file of events of one day or month, or a part of them
// by stream.
type compacted struct {
	Level      string `json:"level"`
	Period     string `json:"period"`     // 2026-03-04 or 2026-03, UTC
	Generation uint64 `json:"generation"` // number of the first catalog that names it
	Object     string `json:"object"`     // name below the log's folder
	First      uint64 `json:"first"`      // sequences of the whole period
	Last       uint64 `json:"last"`
	sorted
}

// A retired is a file that another has replaced.
type retired struct {
	Object string    `json:"object"`
	At     time.Time `json:"at"`
}

const compactFolder = "compact/"

func catalogFolder(shard leat.ShardID) string { return compactFolder + string(shard) + "/catalog/" }

func catalogName(shard leat.ShardID, number uint64) string {
	return fmt.Sprintf("%s%020d.json", catalogFolder(shard), number)
}

func levelFolder(shard leat.ShardID, level string) string {
	return compactFolder + string(shard) + "/" + level + "/"
}

// compactedName returns the name of a compacted file. It holds the number of the
// one catalog that may be the first to name it, so once that catalog is there and
// does not, nobody ever will.
func compactedName(shard leat.ShardID, level, period string, generation uint64, sum string) string {
	return fmt.Sprintf("%s%s-%020d-%s.parquet", levelFolder(shard, level), period, generation, sum)
}

// generationOf reads the generation from a name in the folder of a level.
func generationOf(name string) (uint64, bool) {
	name, ok := strings.CutSuffix(name, ".parquet")
	parts := strings.Split(name, "-")
	if !ok || len(parts) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(parts[len(parts)-2], 10, 64)
	return n, err == nil
}

// sign sets the signature of a catalog that is complete but for it.
func (c *catalog) sign(k *Key) error {
	signed, err := note.Sign(&note.Note{Text: c.statement()}, k.signer)
	c.Signature = string(signed)
	return err
}

// statement returns what is signed of a catalog.
func (c *catalog) statement() string {
	unsigned := *c
	unsigned.Signature = ""
	return fmt.Sprintf("leat/%s/%s\ncatalog %d %s\n", c.Log, c.Shard, c.Number, hexSum(encodeJSON(unsigned)))
}

// check returns what is wrong with a catalog.
func (c *catalog) check(object string, keys []note.Verifier) error {
	text, err := openNote(c.Signature, keys)
	if err != nil {
		return corrupt(object, "holds what does not count: %v", err)
	}
	if text != c.statement() || strings.Count(c.Signature, "\n") != strings.Count(text, "\n")+2 {
		return corrupt(object, "holds a signature that is not its own")
	}
	next, left := uint64(1), uint64(0) // events of the period that are still to come
	for i, f := range c.Files {
		if i == 0 || f.First != c.Files[i-1].First {
			if left != 0 || f.First != next || f.Last < f.First {
				return corrupt(object, "has files of sequences %d to %d where %d should follow", f.First, f.Last, next)
			}
			next, left = f.Last+1, f.Last-f.First+1
		}
		if f.Events == 0 || f.Events > left || f.Last+1 != next {
			return corrupt(object, "says that %s holds %d events", f.Object, f.Events)
		}
		left -= f.Events
		if f.Object != compactedName(c.Shard, f.Level, f.Period, f.Generation, f.SHA256) {
			return corrupt(object, "names a file %q", f.Object)
		}
	}
	if left != 0 || next != c.Covered+1 {
		return corrupt(object, "says its files end at sequence %d, and they end at %d", c.Covered, next-1)
	}
	return nil
}

// catalogNumbers returns the numbers of a shard's catalogs, ascending.
func (a *Archive) catalogNumbers(ctx context.Context, shard leat.ShardID) ([]uint64, error) {
	var numbers []uint64
	for name, err := range a.store.List(ctx, a.object(catalogFolder(shard)), "") {
		if err != nil {
			return nil, err
		}
		if n, ok := manifestNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// catalog returns the catalog of a shard that holds, one with number 0 when there
// is none.
func (a *Archive) catalog(ctx context.Context, shard leat.ShardID) (*catalog, error) {
	for gone := uint64(0); ; {
		numbers, err := a.catalogNumbers(ctx, shard)
		if err != nil {
			return nil, err
		}
		if len(numbers) == 0 {
			return &catalog{Format: formatVersion, Log: a.desc.Log, Shard: shard}, nil
		}
		number := slices.Max(numbers)
		c, err := a.readCatalog(ctx, shard, number)
		if errors.Is(err, fs.ErrNotExist) && number > gone {
			gone = number // others came, and this one was swept, between the calls
			continue
		}
		return c, err
	}
}

func (a *Archive) readCatalog(ctx context.Context, shard leat.ShardID, number uint64) (*catalog, error) {
	object := a.object(catalogName(shard, number))
	if c, ok := a.parts.get(object); ok {
		return c.(*catalog), nil
	}
	data, err := a.store.Get(ctx, object)
	if err != nil {
		return nil, missing(object, err)
	}
	c := &catalog{}
	if err := decodeJSON(object, data, c); err != nil {
		return nil, err
	}
	if c.Log != a.desc.Log || c.Shard != shard || c.Number != number {
		return nil, corrupt(object, "is catalog %d of %s of log %q", c.Number, c.Shard, c.Log)
	}
	if err := c.check(object, a.keys); err != nil {
		return nil, err
	}
	a.parts.put(object, c, int64(len(data)))
	return c, nil
}

// linksAbove returns the links of a shard's chain from the one on that adds the
// last sequence that a catalog covers.
func (a *Archive) linksAbove(ctx context.Context, c *catalog) ([]link, error) {
	links, err := a.linksFrom(ctx, c.Shard, max(c.Manifest.Number, 1))
	if err == nil && c.Number > 0 && links[0].sum != c.Manifest.SHA256 {
		err = corrupt(a.object(catalogName(c.Shard, c.Number)), "was made of a manifest %d with SHA-256 %s, and that has %s",
			c.Manifest.Number, c.Manifest.SHA256, links[0].sum)
	}
	return links, err
}

// source returns where a compacted file is read from.
func (a *Archive) source(f compacted) *sortedSource {
	object := a.object(f.Object)
	return &sortedSource{name: object, desc: f.sorted, part: func(ctx context.Context, s extent) ([]byte, error) {
		return a.part(ctx, object, s)
	}}
}

// unnamed returns the compacted files of a shard that a catalog does not name.
func (a *Archive) unnamed(ctx context.Context, c *catalog) ([]string, error) {
	named := make(map[string]bool)
	for _, f := range c.Files {
		named[f.Object] = true
	}
	for _, r := range c.Retired {
		named[r.Object] = true
	}
	var objects []string
	for _, level := range []string{levelDay, levelMonth} {
		folder := levelFolder(c.Shard, level)
		for name, err := range a.store.List(ctx, a.object(folder), "") {
			if err != nil {
				return nil, err
			}
			if !named[folder+name] {
				objects = append(objects, a.object(folder+name))
			}
		}
	}
	return objects, nil
}
