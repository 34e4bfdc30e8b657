package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackup(t *testing.T) {
	newLog(t)
	ok(t, "", "append", "order-1", "OrderPlaced", `{"total":1250}`)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if out := ok(t, "", "backup", first); !strings.Contains(out, first+": 1 events, ") {
		t.Errorf("backup said %q of a log with one event", out)
	}
	var made backupJSON
	if err := json.Unmarshal([]byte(ok(t, "", "backup", second, "--json")), &made); err != nil ||
		made.Directory != second || made.Events != 1 || made.Bytes == 0 || made.Log == "" {
		t.Errorf("backup --json said %+v, %v", made, err)
	}
	ok(t, "", "doctor", "dir:"+first)
	if out := ok(t, "", "read", "order-1", "--log", "dir:"+first); !strings.Contains(out, "OrderPlaced") {
		t.Errorf("read printed of the copy %q", out)
	}
	if out := ok(t, "", "log", "show", "dir:"+first); !strings.Contains(out, "epoch    2\n") || !strings.Contains(out, "\ndisk     ") {
		t.Errorf("log show said of the copy, want epoch 2 and what it takes on the disk:\n%s", out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{first}, "holds files"},
		{[]string{second, "--log", "leat://127.0.0.1:1/orders"}, "/backups"},
		{[]string{second, "--log", "nowhere"}, "dir:PATH"},
	} {
		if code, _, errOut := leatCmd(t, "", append([]string{"backup"}, c.args...)...); code != exitFailed || !strings.Contains(errOut, c.says) {
			t.Errorf("leat backup %q: exit %d, %q, want %q in it", c.args, code, errOut, c.says)
		}
	}
}
