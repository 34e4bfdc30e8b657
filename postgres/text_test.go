package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "order-1", "a\\b", "\\x00", "\x00", "\xff\xfe", "ünïcode", "\\", "\\x", "\\xg0", "\\\\x00", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kept := text(s)
		if !utf8.ValidString(kept) || strings.Contains(kept, "\x00") {
			t.Errorf("text(%q) is %q, which PostgreSQL does not take", s, kept)
		}
		if back := untext(kept); back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
		_ = untext(s) // of anything
	})
}
