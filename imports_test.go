package leat_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whoever speaks of events must not have to compile a database: the contract
// imports the standard library alone, and its suite little more.
func TestImports(t *testing.T) {
	for dir, allowed := range map[string][]string{
		".":        nil,
		"leattest": {"github.com/leathq/leat", "pgregory.net/rapid"},
	} {
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range p.Imports {
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") && !slices.Contains(allowed, path) {
				t.Errorf("package %s imports %s", p.Name, path)
			}
		}
	}
}

// The server knows logs, and never what keeps them: cmd/leat hands it an engine
// and an archive.
func TestServerKnowsNoEngine(t *testing.T) {
	for _, dir := range []string{"server", "server/http", "server/rpc", "server/lease", "client", "eventjson"} {
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range p.Imports {
			if slices.Contains([]string{"engine", "archive", "server/local", "server/keep"}, strings.TrimPrefix(path, "github.com/leathq/leat/")) {
				t.Errorf("%s imports %s", dir, path)
			}
		}
	}
}

// Who does not archive to object storage must not have to compile its client, as
// whoever runs the shop for the first time.
func TestWhoKnowsObjectStorage(t *testing.T) {
	err := filepath.WalkDir(".", func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if dir == "tools" || dir == "bench" || strings.HasPrefix(e.Name(), ".") && dir != "." || e.Name() == "testdata" {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			return nil //nolint:nilerr // no package there
		}
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "github.com/aws/") && dir != "archive/s3" && dir != "forward/aws" || path == "github.com/leathq/leat/archive/s3" && dir != "cmd/leat" ||
				path == "github.com/leathq/leat/forward/aws" {
				t.Errorf("%s imports %s", dir, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
