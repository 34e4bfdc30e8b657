package service_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leathq/leat"
	"github.com/leathq/leat/service"
)

type (
	renamedV0 struct{ Qty string }
	renamedV1 struct{ Qty int }
	unlisted  struct{}
)

func (unlisted) stockEvent() {}

// upcast knows an event in three forms, and one that only changed its name.
var upcast = service.NewTypes[stockEvent](
	service.TypeOf[received]("stock.received.v2",
		service.Upcast("stock.received.v1", func(o renamedV1) received { return received{o.Qty} },
			service.Upcast("stock.received.v0", func(o renamedV0) renamedV1 { return renamedV1{len(o.Qty)} }))),
	service.TypeOf[reserved]("stock.reserved", service.Upcast("stock.taken", func(r reserved) reserved { return r })),
)

func recorded(typ, data string) leat.Recorded {
	return leat.Recorded{
		Event:   leat.Event{ID: "id-1", Stream: "stock-A", Type: typ, Data: []byte(data), ContentType: leat.DefaultContentType},
		Version: 7,
	}
}

func TestTypesEncodeTheNewestForm(t *testing.T) {
	typ, data, err := upcast.Encode(received{5})
	if err != nil {
		t.Fatal(err)
	}
	if typ != "stock.received.v2" || string(data) != `{"units":5}` {
		t.Errorf("encoded as %s %s", typ, data)
	}
	if _, _, err := upcast.Encode(unlisted{}); !errors.Is(err, service.ErrUnknownType) || !strings.Contains(err.Error(), "unlisted") {
		t.Errorf("encode of an undeclared type: %v, want ErrUnknownType naming it", err)
	}
	if _, _, err := upcast.Encode(nil); !errors.Is(err, service.ErrUnknownType) {
		t.Errorf("encode of nil: %v, want ErrUnknownType", err)
	}
}

func TestTypesDecodeEveryForm(t *testing.T) {
	for _, c := range []struct {
		typ, data string
		want      stockEvent
	}{
		{"stock.received.v2", `{"units":5,"new":"ignored"}`, received{5}},
		{"stock.received.v1", `{"Qty":6}`, received{6}},
		{"stock.received.v0", `{"Qty":"seven.."}`, received{7}},
		{"stock.reserved", `{"order":"1","units":2}`, reserved{"1", 2}},
		{"stock.taken", `{"order":"1","units":2}`, reserved{"1", 2}},
	} {
		got, err := upcast.Decode(recorded(c.typ, c.data))
		if err != nil || got != c.want {
			t.Errorf("decode %s: %v, %v; want %v", c.typ, got, err, c.want)
		}
	}
	want := []string{"stock.received.v2", "stock.received.v1", "stock.received.v0", "stock.reserved", "stock.taken"}
	if got := upcast.Names(); !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}

func TestTypesNameTheEventThatCannotBeDecoded(t *testing.T) {
	for _, c := range []struct{ name, typ, data string }{
		{"unknown", "stock.lost", `{}`},
		{"not JSON", "stock.reserved", `{"order":`},
		{"other type", "stock.reserved", `{"units":"two"}`},
		{"old form", "stock.received.v0", `{"Qty":1}`},
		{"trailing", "stock.reserved", `{} {}`},
		{"empty", "stock.reserved", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := upcast.Decode(recorded(c.typ, c.data))
			decode, ok := errors.AsType[*service.DecodeError](err)
			if !ok || decode.ID != "id-1" || decode.Type != c.typ || decode.Version != 7 {
				t.Fatalf("error %v, want a DecodeError of the event", err)
			}
			if errors.Is(err, service.ErrUnknownType) != (c.name == "unknown") {
				t.Errorf("error %v: only an unknown type is ErrUnknownType", err)
			}
			for _, part := range []string{"stock-A", "version 7", c.typ} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %q", err, part)
				}
			}
		})
	}
}

func TestNewTypesPanics(t *testing.T) {
	for _, c := range []struct {
		name, says string
		types      []service.Type
	}{
		{"name twice", `"A"`, []service.Type{service.TypeOf[received]("A"), service.TypeOf[reserved]("A")}},
		{"old name twice", `"A"`, []service.Type{
			service.TypeOf[received]("A"),
			service.TypeOf[reserved]("B", service.Upcast("A", func(r reserved) reserved { return r })),
		}},
		{"Go type twice", "received", []service.Type{service.TypeOf[received]("A"), service.TypeOf[received]("B")}},
		{"not an event", "renamedV0", []service.Type{service.TypeOf[renamedV0]("A")}},
		{"an interface", "interface", []service.Type{service.TypeOf[stockEvent]("A")}},
		{"no name", `""`, []service.Type{service.TypeOf[received]("")}},
		{"long name", "256", []service.Type{service.TypeOf[received](strings.Repeat("x", 257))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), c.says) {
					t.Errorf("panic %v, want one that says %s", v, c.says)
				}
			}()
			service.NewTypes[stockEvent](c.types...)
		})
	}
}
