package metajson_test

import (
	"reflect"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/metajson"
)

func TestRoundTrip(t *testing.T) {
	for _, m := range []leat.Meta{nil, leat.NewMeta("a", ""), leat.NewMeta("b", "\x00\"<&>\\ü\u2028", "a", "1", "c2", "x")} {
		text, err := metajson.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := metajson.Decode(text); err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%v comes back as %v, %v", m, back, err)
		}
	}
	if _, err := metajson.Decode("no JSON"); err == nil {
		t.Error("what is no JSON is decoded")
	}
}
