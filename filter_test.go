package leat_test

import (
	"testing"

	"github.com/leathq/leat"
)

func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		name        string
		filter      leat.Filter
		stream, typ string
		want        bool
	}{
		{"zero, any event", leat.Filter{}, "order-1", "Placed", true},
		{"zero, no name", leat.Filter{}, "", "", true},
		{"zero, system stream", leat.Filter{}, "$log", "$Trimmed", false},
		{"stream", leat.Filter{Streams: []string{"a-1", "b-1"}}, "b-1", "T", true},
		{"other stream", leat.Filter{Streams: []string{"a-1", "b-1"}}, "b-2", "T", false},
		{"category", leat.Filter{Categories: []string{"order"}}, "order-1-2", "T", true},
		{"category that is the name", leat.Filter{Categories: []string{"order"}}, "order", "T", true},
		{"longer category", leat.Filter{Categories: []string{"order"}}, "orders-1", "T", false},
		{"empty category", leat.Filter{Categories: []string{""}}, "-1", "T", true},
		{"category is no prefix", leat.Filter{Categories: []string{"order-1"}}, "order-1", "T", false},
		{"type", leat.Filter{Types: []string{"T", "U"}}, "a-1", "U", true},
		{"other type", leat.Filter{Types: []string{"T", "U"}}, "a-1", "u", false},
		{"all lists", leat.Filter{Streams: []string{"a-1"}, Categories: []string{"a"}, Types: []string{"T"}}, "a-1", "T", true},
		{"all lists but one", leat.Filter{Streams: []string{"a-1"}, Categories: []string{"b"}, Types: []string{"T"}}, "a-1", "T", false},
		{"system stream by type", leat.Filter{Types: []string{"$Trimmed"}}, "$log", "$Trimmed", false},
		{"system stream by name", leat.Filter{Streams: []string{"$log"}}, "$log", "$Trimmed", true},
		{"system stream by category", leat.Filter{Categories: []string{"$log"}}, "$log-1", "$Trimmed", true},
		{"system stream, asked for", leat.Filter{System: true}, "$log", "$Trimmed", true},
		{"system stream, asked for with another type", leat.Filter{System: true, Types: []string{"T"}}, "$log", "$Trimmed", false},
		{"any stream, asked for with the system's", leat.Filter{System: true}, "a-1", "T", true},
	} {
		if got := c.filter.Matcher().Match(c.stream, c.typ); got != c.want {
			t.Errorf("%s: match of %q, %q is %v, want %v", c.name, c.stream, c.typ, got, c.want)
		}
	}
}

func TestFilterEqual(t *testing.T) {
	full := leat.Filter{Streams: []string{"s"}, Categories: []string{"c"}, Types: []string{"t"}, System: true, Where: "w"}
	same := full
	if !full.Equal(same) {
		t.Error("a filter does not equal its copy")
	}
	for name, change := range map[string]func(*leat.Filter){
		"streams":    func(f *leat.Filter) { f.Streams = nil },
		"categories": func(f *leat.Filter) { f.Categories = []string{"d"} },
		"types":      func(f *leat.Filter) { f.Types = []string{"t", "t"} },
		"system":     func(f *leat.Filter) { f.System = false },
		"where":      func(f *leat.Filter) { f.Where = "" },
	} {
		other := full
		change(&other)
		if full.Equal(other) {
			t.Errorf("filters with other %s are equal", name)
		}
	}
}
