package cloudevent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/forward/cloudevent"
)

func Example() {
	text := cloudevent.Marshal("019f0000-0000-7000-8000-000000000001", &leat.Recorded{
		Event: leat.Event{
			ID: "1", Stream: "order-1", Type: "OrderPlaced", Source: "orders", ContentType: "application/json",
			Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Data: []byte(`{"lines":2}`),
		},
		Shard: "shardId-000000000000", Seq: 7, Version: 1,
	})
	fmt.Println(string(text))
	e, err := cloudevent.Unmarshal(text)
	fmt.Println(e.Stream, e.Source, string(e.Data), err)
	// Output:
	// {"specversion":"1.0","id":"1","source":"orders#order-1","type":"OrderPlaced","subject":"order-1","time":"2026-01-02T03:04:05Z","datacontenttype":"application/json","originlog":"019f0000-0000-7000-8000-000000000001","originseq":"7","originshard":"shardId-000000000000","sequence":"00000000000000000001","data":{"lines":2}}
	// order-1 orders {"lines":2} <nil>
}

func TestUnmarshalSaysWhatIsWrong(t *testing.T) {
	for text, field := range map[string]string{
		`[]`:                    "event",
		`{`:                     "event",
		`{"specversion":"0.3"}`: "specversion",
		`{"specversion":"1.0","id":"1","source":"s","type":"t"}`:                               "subject",
		`{"specversion":"1.0","id":"","source":"s","type":"t","subject":"x"}`:                  "id",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x","time":"now"}`:    "time",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x","data_base64":1}`: "data_base64",
	} {
		_, err := cloudevent.Unmarshal([]byte(text))
		invalid, is := errors.AsType[*leat.InvalidError](err)
		if !is || invalid.Field != field {
			t.Errorf("Unmarshal(%s): %v, want an invalid %s", text, err, field)
		}
	}
	// Another sender's attributes may be numbers and booleans.
	e, err := cloudevent.Unmarshal([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x","n":1,"b":true}`))
	if err != nil || fmt.Sprint(e.Meta) != "[{b true} {n 1}]" {
		t.Errorf("Unmarshal: %+v, %v", e, err)
	}
}
