package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/archive"
)

// archiveLog archives the log of LEAT_LOG, names the archive in LEAT_ARCHIVE and
// returns its folder and public key.
func archiveLog(t *testing.T, folder string, key *archive.Key) {
	t.Helper()
	t.Setenv("LEAT_ARCHIVE", "file://"+folder)
	store, err := archive.OpenStore("file://" + folder)
	if err != nil {
		t.Fatal(err)
	}
	err = logFlag{os.Getenv("LEAT_LOG")}.with(t.Context(), func(log leat.Log) error {
		a, err := archive.NewArchiver(log, store, archive.Config{Key: key})
		if err != nil {
			return err
		}
		now, err := leat.Start(t.Context(), log, leat.Now)
		if err != nil {
			return err
		}
		return a.Flush(t.Context(), now)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fails runs a command line that has to fail, and whose error says something.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	if code, out, errOut := leatCmd(t, "", args...); code == 0 || !strings.Contains(errOut, want) {
		t.Errorf("leat %s: exit %d, want an error with %q\n%s%s", strings.Join(args, " "), code, want, out, errOut)
	}
}

func TestArchiveProve(t *testing.T) {
	newLog(t, "--id", "shop")
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	folder, public := t.TempDir(), key.Public()
	ok(t, "", "append", "order-1", "OrderPlaced", `{"note": "<1 & 2>"}`, "--id", "place-1")
	ok(t, "", "append", "order-2", "OrderPlaced", `{}`)
	archiveLog(t, folder, key)
	known := write(t, "known", ok(t, "", "archive", "status", "--checkpoints"))
	ok(t, "", "append", "order-1", "OrderCancelled", `{"by":"c1"}`)
	archiveLog(t, folder, key)

	first := ok(t, "", "archive", "prove", "--stream", "order-1", "--version", "1")
	second := ok(t, "", "archive", "prove", "--shard", "shardId-000000000000", "--seq", "3", "--bare", "--public-key", public)
	older := ok(t, "", "archive", "prove", "--stream", "order-1", "--version", "1", "--size", "2")
	consistency := write(t, "consistency", ok(t, "", "archive", "prove", "--since", known))
	event := write(t, "event", ok(t, "", "read", "order-1", "--json", "--reverse", "--limit", "1"))
	firstEvent := write(t, "event", ok(t, "", "read", "order-1", "--json", "--limit", "1"))
	t.Setenv("LEAT_ARCHIVE", "") // from here on there is nothing but the files
	t.Setenv("LEAT_LOG", "")

	check := func(proof string, args ...string) []string {
		return append([]string{"archive", "prove", "--check", write(t, "proof", proof), "--public-key", public}, args...)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{check(first), "event place-1, order-1 version 1, was recorded as sequence 1 of shardId-000000000000 of log shop"},
		{check(first, "--event", firstEvent, "--id", "shop"), "one of 3 events"},
		{check(older), "one of 2 events"},
		{check(second, "--event", event), "order-1 version 2, was recorded as sequence 3"},
		{[]string{"archive", "prove", "--check", consistency, "--since", known, "--public-key", public}, "the 3 events of shardId-000000000000 of log shop begin with the 2"},
		{[]string{"archive", "prove", "--check", consistency, "--since", known, "--public-key", public, "--json"}, `"old":2`},
	} {
		if out := ok(t, "", c.args...); !strings.Contains(out, c.want) {
			t.Errorf("leat %s printed %q, want %q", strings.Join(c.args, " "), out, c.want)
		}
	}
	var out checked
	if err := json.Unmarshal([]byte(ok(t, "", check(first, "--json")...)), &out); err != nil || out.Event.Version != 1 || out.Size != 3 || out.Log != "shop" {
		t.Errorf("%v: --json printed %+v", err, out)
	}

	other, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	fails(t, "does not hold", check(first, "--event", event)...)
	fails(t, "--event", check(second)...)
	fails(t, "about log shop, not bank", check(first, "--id", "bank")...)
	fails(t, "--since", "archive", "prove", "--check", consistency, "--public-key", public)
	fails(t, "not signed", "archive", "prove", "--check", write(t, "proof", first), "--public-key", other.Public())
	fails(t, "--public-key", "archive", "prove", "--check", write(t, "proof", first))
	fails(t, "tlog-proof", check("hello")...)
	fails(t, "--archive", "archive", "prove", "--stream", "order-1", "--version", "1")
	fails(t, "--stream and --version", "archive", "prove", "--archive", "file://"+folder, "--stream", "order-1")
	fails(t, "version 9", "archive", "prove", "--archive", "file://"+folder, "--stream", "order-1", "--version", "9")
}

func TestArchiveVerify(t *testing.T) {
	log := newLog(t, "--id", "shop")
	key, err := archive.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	folder, public := t.TempDir(), key.Public()
	for _, stream := range []string{"order-1", "order-2"} {
		ok(t, "", "append", stream, "OrderPlaced", `{}`)
		archiveLog(t, folder, key)
	}
	known := write(t, "known", ok(t, "", "archive", "status", "--checkpoints"))
	out := ok(t, "", "archive", "verify", "--public-key", public, "--log", log, "--known", known)
	if want := "✓ archive of log shop: 2 events in 2 segments"; !strings.Contains(out, want) || !strings.Contains(out, "compared 2 events") {
		t.Errorf("verify printed %q, want %q", out, want)
	}
	if out := ok(t, "", "archive", "verify", "--since", "2100-01-01"); !strings.Contains(out, "left out 2 segments") {
		t.Errorf("verify --since printed %q", out)
	}

	manifests := filepath.Join(folder, "shop", "manifests", "shardId-000000000000")
	segments, err := filepath.Glob(filepath.Join(folder, "shop", "segments", "*", "*.parquet"))
	if err != nil || len(segments) != 2 {
		t.Fatalf("%v: segments %v", err, segments)
	}
	for _, name := range []string{segments[0], filepath.Join(manifests, "00000000000000000003.json")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	code, text, errOut := leatCmd(t, "", "archive", "verify", "--json", "--known", known)
	var r verified
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != 1 || len(r.Problems) != 2 || !strings.Contains(errOut, "2 problems") {
		t.Fatalf("%v: exit %d, problems %+v\n%s", err, code, r.Problems, errOut)
	}
	for i, want := range []string{"manifests/shardId-000000000000/00000000000000000003.json", filepath.Base(segments[0])} {
		if p := r.Problems[i]; !strings.HasSuffix(p.Object, want) || p.What == "" || p.Meaning == "" {
			t.Errorf("problem %+v, want one of %s", p, want)
		}
	}
	fails(t, "problems", "archive", "verify")
}
