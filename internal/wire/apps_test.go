package wire_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/leathq/leat"
	"github.com/leathq/leat/internal/wire"
	leatv1 "github.com/leathq/leat/proto/leat/v1"
	"google.golang.org/protobuf/proto"
)

// statuses are what a worker may tell: everything, and nothing.
func statuses() []leat.AppStatus {
	at := time.Unix(1_700_000_000, 123).UTC()
	tally := leat.Tally{Seen: 1, Filtered: 2, Handled: 3, Skipped: 4, Forwarded: 5, Parked: 6, Unparked: 7, Failures: 8}
	full := leat.AppStatus{
		Name: "stock/v1", Owner: "a/1", Tally: tally, Waiting: 9, Rate: 2.5, Paused: true, Ended: true, LastError: "no such SKU", LastAt: at,
		Shards: []leat.ShardStatus{
			{ID: leat.ShardNumber(0), Held: true, Next: 10, Head: 30, Oldest: at, Replay: 25, Tally: tally},
			{ID: leat.ShardNumber(1), Next: 7, Head: 7, Closed: true},
		},
	}
	full.Sum()
	return []leat.AppStatus{full, {Name: "mail", Owner: "b/1", Shards: []leat.ShardStatus{}}}
}

// carried returns a message as it comes out at the other end.
func carried[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	data, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func TestStatuses(t *testing.T) {
	want := statuses()
	m := carried(t, &leatv1.ReportRequest{Status: wire.FromStatuses(want)}, &leatv1.ReportRequest{})
	if got := wire.Statuses(m.GetStatus()); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestApps(t *testing.T) {
	all := statuses()
	want := []leat.App{
		{Name: "stock/v1", Paused: true, Workers: []leat.Worker{
			{AppStatus: all[0], At: time.Unix(1_700_000_001, 0).UTC(), Gone: true},
			{AppStatus: all[1], At: time.Unix(1_700_000_002, 0).UTC()},
		}},
		{Name: "later"},
	}
	m := carried(t, &leatv1.ListAppsResponse{Apps: wire.FromApps(want)}, &leatv1.ListAppsResponse{})
	if got := wire.Apps(m.GetApps()); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := wire.Apps(nil); got != nil {
		t.Errorf("of no messages: %+v, want nil", got)
	}
}

// What a peer leaves out is as if it were zero.
func TestAppsOfAPeerThatLeavesOutAll(t *testing.T) {
	m := carried(t, &leatv1.ListAppsResponse{Apps: []*leatv1.App{{Workers: []*leatv1.Worker{{}}}}}, &leatv1.ListAppsResponse{})
	apps := wire.Apps(m.GetApps())
	if len(apps) != 1 || len(apps[0].Workers) != 1 || !reflect.DeepEqual(apps[0].Workers[0].AppStatus, leat.AppStatus{}) {
		t.Errorf("got %+v, want one application with one worker of which nothing is known", apps)
	}
	r := carried(t, &leatv1.ReportRequest{Status: []*leatv1.AppStatus{{Shards: []*leatv1.ShardStatus{{}}}}}, &leatv1.ReportRequest{})
	if got := wire.Statuses(r.GetStatus()); len(got) != 1 || len(got[0].Shards) != 1 {
		t.Errorf("got %+v, want one status with one shard", got)
	}
}
