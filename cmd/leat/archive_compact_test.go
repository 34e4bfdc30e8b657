package main

import (
	"strings"
	"testing"

	"github.com/leathq/leat/archive"
)

func TestArchiveCompact(t *testing.T) {
	newLog(t, "--id", "shop")
	folder, keyFile := t.TempDir(), t.TempDir()+"/key"
	key, err := archive.LoadKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "", "append", "order-1", "OrderPlaced", `{}`)
	archiveLog(t, folder, key)
	got := ok(t, "", "archive", "compact", "--key", keyFile, "--json")
	if want := `{"log":"shop","days":0,"months":0,"events":0,"files":0,"removed":0}`; strings.TrimSpace(got) != want {
		t.Errorf("%s, want %s: the day goes on", got, want)
	}
	fails(t, "denied", "archive", "compact", "--key", otherKey(t))
}

// otherKey returns a file with a key that no archive is signed with.
func otherKey(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/other"
	if _, err := archive.LoadKey(path); err != nil {
		t.Fatal(err)
	}
	return path
}
