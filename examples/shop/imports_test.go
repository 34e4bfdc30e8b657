package main

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestServicesImportNoService: the services meet only through the log, and what
// judges them shares nothing with them.
func TestServicesImportNoService(t *testing.T) {
	const shop = "github.com/leathq/leat/examples/shop/"
	allowed := map[string][]string{
		"orders": {"database", "field", "trace", "web"}, "inventory": {"database", "field", "trace", "web"}, "billing": {"database", "field", "trace", "web"},
		"retail": {}, "check": {}, "trace": {"database"}, "web": {"field"}, "gateway": {"web"}, "accountant": {"database", "web"}, "supervisor": {},
	}
	for dir, allow := range allowed {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("package %s: no files, %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if of, ok := strings.CutPrefix(path, shop); ok && !slices.Contains(allow, of) {
					t.Errorf("%s imports %s", file, of)
				}
			}
		}
	}
}
