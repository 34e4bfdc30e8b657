package wire_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// Whatever is sent arrives: no field is forgotten.
func TestRecordedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, 40)
		moment := rapid.Map(rapid.Int64(), func(ns int64) time.Time { return time.Unix(0, ns).UTC() })
		r := leat.Recorded{
			Event: leat.Event{
				ID: text.Draw(t, "id"), Stream: text.Draw(t, "stream"), Type: text.Draw(t, "type"), Source: text.Draw(t, "source"),
				Time: moment.Draw(t, "time"), ContentType: text.Draw(t, "contenttype"),
				Data: rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "data"),
			},
			Shard: leat.ShardNumber(rapid.IntRange(0, 3).Draw(t, "shard")),
			Seq:   rapid.Uint64().Draw(t, "seq"), Commit: rapid.Uint64().Draw(t, "commit"), Version: rapid.Uint64().Draw(t, "version"),
			At: moment.Draw(t, "at"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "attributes") {
			r.Meta = append(r.Meta, leat.Attr{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")})
		}
		around := leat.ShardNumber(rapid.IntRange(0, 3).Draw(t, "around"))
		var m leatv1.Recorded
		through(t, wire.FromRecorded(&r, around), &m)
		if got := wire.Recorded(&m, around); !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v came as %+v", r, got)
		}
		var e leatv1.Event
		r.Time = time.Time{}
		through(t, wire.FromEvents([]leat.Event{r.Event})[0], &e)
		if got := wire.Events([]*leatv1.Event{&e})[0]; !reflect.DeepEqual(got, r.Event) {
			t.Fatalf("%+v came as %+v", r.Event, got)
		}
	})
}

// through sends a message as bytes.
func through(t *rapid.T, from, to proto.Message) {
	data, err := proto.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}

// Messages of strangers may lack anything.
func TestEmptyMessages(t *testing.T) {
	wire.Events([]*leatv1.Event{nil, {}})
	wire.Recorded(nil, "")
	wire.Conditions([]*leatv1.Condition{nil})
	wire.Info(nil)
	wire.Filter(nil)
	wire.Lease(nil)
	wire.Fleet(nil)
	if err := wire.Error(&leatv1.Error{Kinds: []leatv1.Kind{99}, Message: "new"}); err == nil || err.Error() != "new" {
		t.Errorf("an error of an unknown kind came as %v", err)
	}
	if _, err := wire.Shards([]*leatv1.Shard{{}}); err == nil {
		t.Error("a shard without hash keys came")
	}
}
